"""Node: paints over the masked region with the colours around it, blurred (inpainting_fill 0).

Rule: A1111 v1.10.1, `modules/masking.py` 80-96. Pillow does the arithmetic, since its rounding is part of the result:
far from the mask's edge little of the surroundings is left, and 8 bits of it decide the colour. Must not know the
other nodes.
"""

from typing import Any

import torch
from PIL import Image, ImageFilter, ImageOps, ImageStat

from .levels import levels_in, levels_of, picture_of

LAYERS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))
"""Blur radius in pixels and how often that layer is laid over the ones before it."""

Box = tuple[int, int, int, int]


def _surroundings(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """What is not masked, with premultiplied alpha 255 - mask."""
    visible = Image.new("RGBa", picture.size)
    visible.paste(picture.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask))
    return visible


def _layer(visible: Image.Image, radius: int, box: Box) -> Image.Image:
    """The surroundings blurred, cut to `box`. Only what can reach the box is blurred: that changes no bit of it."""
    left, top, right, bottom = box
    reach = 3 * radius + 9  # Pillow's blur is three box blurs of about one radius each
    x, y = max(left - reach, 0), max(top - reach, 0)
    near = visible.crop((x, y, min(right + reach, visible.width), min(bottom + reach, visible.height)))
    blurred = near.filter(ImageFilter.GaussianBlur(radius))
    return blurred.crop((left - x, top - y, right - x, bottom - y)).convert("RGBA")


def _mean_colour(picture: Image.Image, mask: Image.Image) -> tuple[int, ...]:
    """Of what is not masked at all, else of the whole picture."""
    clear = mask.point([255] + [0] * 255)
    return tuple(round(level) for level in ImageStat.Stat(picture, clear if clear.getbbox() else None).mean)


def fill_masked(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """RGB `picture` with its masked part (L `mask` of the same size, 255 = masked) painted over.

    Pixels whose mask is 0 stay as they are. Unlike WebUI, which leaves black where nothing of the surroundings
    arrives (all of an all-white mask, the middle of a huge one), those pixels get the mean colour.
    """
    box = mask.getbbox()
    if box is None:
        return picture
    visible = _surroundings(picture, mask)
    painted = Image.new("RGBA", (box[2] - box[0], box[3] - box[1]))
    for radius, times in LAYERS:
        layer = _layer(visible, radius, box)
        for _ in range(times):
            painted.alpha_composite(layer)
    empty = painted.getchannel("A").point([255] + [0] * 255)
    painted = painted.convert("RGB")
    if empty.getbbox():
        painted.paste(_mean_colour(picture, mask), mask=empty)
    filled = picture.copy()
    filled.paste(painted, box)
    return filled


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
        filled = []
        for turn, picture in enumerate(image):
            drawn = picture_of(levels_of(masks[turn % len(masks)]))
            filled.append(levels_in(fill_masked(picture_of(levels_of(picture[..., :3])), drawn)) / 255)
        return (torch.stack(filled).to(image.device),)
