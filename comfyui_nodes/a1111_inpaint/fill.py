"""Node: paints over the masked region with the colours around it, blurred (inpainting_fill 0).

Rule: A1111 v1.10.1, `modules/masking.py` 80-96: layers of the surroundings, blurred less and less, one over the other.
The two widest are three quarters of its cost and are computed without rounding, by `wide_blur`; the others by Pillow,
whose rounding is part of the result. Must not know the other nodes.
"""

from typing import Any

import torch
from PIL import Image, ImageFilter, ImageStat

from .levels import levels_in, levels_of, picture_of
from .wide_blur import blurred, reach_of, resampled

WIDE_LAYERS = (256, 64)
LAYERS = ((16, 2), (4, 4), (2, 2), (0, 1))
"""Blur radius in pixels, and how often that layer is laid over the ones before it; the wide ones come first, once."""

Box = tuple[int, int, int, int]


def _surroundings(levels: torch.Tensor, mask: torch.Tensor) -> Image.Image:
    """What is not masked, with premultiplied alpha 255 - mask."""
    visible = picture_of(levels)
    visible.putalpha(picture_of(255 - mask))
    return visible.convert("RGBa")


def _layer(visible: Image.Image, radius: int, box: Box) -> Image.Image:
    """The surroundings blurred and cut to `box`, rows and columns exchanged, which spares Pillow to do so twice.

    Only what can reach the box is blurred: that changes no bit of it.
    """
    left, top, right, bottom = box
    reach = reach_of(radius)
    x, y = max(left - reach, 0), max(top - reach, 0)
    near = visible.crop((x, y, min(right + reach, visible.width), min(bottom + reach, visible.height)))
    rows = ImageFilter.GaussianBlur((radius, 0))
    wide = near.filter(rows).crop((left - x, 0, right - x, near.height)).transpose(Image.Transpose.TRANSPOSE)
    return wide.filter(rows).crop((top - y, 0, bottom - y, right - left)).convert("RGBA")


def _base(visible: Image.Image, box: Box) -> Image.Image:
    """The wide layers, one over the other, cut to `box`; rows and columns exchanged."""
    wide, near = (blurred(visible, radius, box) for radius in WIDE_LAYERS)
    over = near + resampled(wide, near.shape[2], near.shape[1]) * (1 - near[3] / 255)
    over[:3] *= 255 / over[3].clamp(min=0.5)  # its colours are cut to whole levels, as Pillow does there
    over[3] += 0.5
    levels = resampled(over, box[2] - box[0], box[3] - box[1]).clamp_(0, 255).to(torch.uint8)
    return Image.fromarray(levels.permute(2, 1, 0).contiguous().numpy())


def _mean_colour(levels: torch.Tensor, mask: torch.Tensor) -> tuple[int, ...]:
    """Of what is not masked at all, else of the whole picture."""
    clear = picture_of((mask == 0).to(torch.uint8) * 255)
    return tuple(round(level) for level in ImageStat.Stat(picture_of(levels), clear if clear.getbbox() else None).mean)


def painted_box(levels: torch.Tensor, mask: torch.Tensor, box: Box) -> torch.Tensor:
    """Levels of the picture (height, width, 3) with its masked part (255 in `mask`) painted over, cut to `box`.

    Pixels whose mask is 0 stay as they are. Unlike WebUI, which leaves black where nothing of the surroundings
    arrives (all of an all-white mask, the middle of a huge one), those pixels get the mean colour.
    """
    visible = _surroundings(levels, mask)
    painted = _base(visible, box)
    for radius, times in LAYERS:
        layer = _layer(visible, radius, box)
        for _ in range(times):
            painted = Image.alpha_composite(painted, layer)
    empty = painted.getchannel("A").point([255] + [0] * 255)
    painted = painted.convert("RGB")
    if empty.getbbox():
        painted.paste(_mean_colour(levels, mask), mask=empty)
    return levels_in(painted).transpose(0, 1)


class A1111InpaintFill:
    """IMAGE and MASK of the same size → IMAGE; one mask serves all pictures, or there is one for each."""

    CATEGORY = "inpaint/a1111"
    DESCRIPTION = (
        "Paints over the masked part with the blurred colours around it, as Stable Diffusion WebUI does for "
        "'fill', 'latent noise' and 'latent nothing'. Bypass it to start from the original."
    )
    FUNCTION = "fill"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("The picture with the masked part painted over.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        return {
            "required": {
                "image": ("IMAGE", {"tooltip": "The padded picture from A1111 Inpaint Masks."}),
                "mask": ("MASK", {"tooltip": "blurred_mask from A1111 Inpaint Masks, of the picture's size."}),
            }
        }

    def fill(self, image: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor]:
        masks = mask.reshape(-1, *mask.shape[-2:])
        if masks.shape[1:] != image.shape[1:3]:
            raise ValueError(
                f"the mask is {masks.shape[2]}x{masks.shape[1]} but the picture {image.shape[2]}x{image.shape[1]}: "
                "connect blurred_mask and image of the same A1111 Inpaint Masks"
            )
        filled = image[..., :3].cpu().clone()
        for turn, picture in enumerate(filled):
            drawn = levels_of(masks[turn % len(masks)])
            box = picture_of(drawn).getbbox()
            if box is not None:
                left, top, right, bottom = box
                picture[top:bottom, left:right] = painted_box(levels_of(picture), drawn, box) / 255
        return (filled.to(image.device),)
