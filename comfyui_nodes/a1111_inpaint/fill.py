"""Node: paints over the masked region with the colours around it, blurred (inpainting_fill 0).

Rule: A1111 v1.10.1, `modules/masking.py` 80-96: layers of the surroundings, blurred less and less, one over the other.
The two widest are computed without rounding, by `wide_blur`; the others by Pillow, whose rounding is part of the
result, where they can show. Must not know the other nodes.
"""

from typing import Any

import torch
from PIL import Image, ImageStat

from .levels import Box, cut, levels_in, levels_of, picture_of, require_one_size
from .rim_blur import blurred_rim, reach_of, rim_of
from .wide_blur import BLOCK, blurred, resampled, visible_blocks

WIDE_LAYERS = (256, 64)
LAYERS = ((16, 2), (4, 4), (2, 2), (0, 1))
"""Blur radius in pixels, and how often that layer is laid over the ones before it; the wide ones come first, once."""

_FARTHEST = max(reach_of(radius) for radius, _ in LAYERS)


def _surroundings(picture: Image.Image, mask: torch.Tensor) -> Image.Image:
    """What is not masked, with premultiplied alpha 255 - mask."""
    visible = picture.copy()
    visible.putalpha(picture_of(255 - mask))
    return visible.convert("RGBa")


def _base(blocks: torch.Tensor, box: Box) -> Image.Image:
    """The wide layers, one over the other, cut to `box`; rows and columns exchanged."""
    wide, near = (blurred(blocks, radius, box) for radius in WIDE_LAYERS)
    over = near + resampled(wide, near.shape[2], near.shape[1]) * (1 - near[3] / 255)
    over[:3] *= 255 / over[3].clamp(min=0.5)  # its colours are cut to whole levels, as Pillow does there
    over[3] += 0.5
    levels = cut(resampled(over.mT, box[3] - box[1], box[2] - box[0]))
    return Image.merge("RGBA", [picture_of(plane) for plane in levels])


def _mean_colour(image: torch.Tensor, mask: torch.Tensor) -> tuple[int, ...]:
    """Of what is not masked at all, else of the whole picture."""
    clear = picture_of((mask == 0).to(torch.uint8) * 255)
    levels = picture_of(levels_of(image))
    return tuple(round(level) for level in ImageStat.Stat(levels, clear if clear.getbbox() else None).mean)


def painted_box(image: torch.Tensor, mask: torch.Tensor, box: Box) -> torch.Tensor:
    """Levels of the picture (height, width, 3 of 0..1) with its masked part (255 in `mask`) painted over, cut to `box`.

    The mask is 0 outside the box; pixels whose mask is 0 stay as they are. Unlike WebUI, which leaves black
    where nothing of the surroundings arrives (all of an all-white mask, the middle of a huge one), those pixels get the
    mean colour.
    """
    left, top = (max(side - _FARTHEST, 0) // BLOCK * BLOCK for side in box[:2])
    near = slice(top, box[3] + _FARTHEST), slice(left, box[2] + _FARTHEST)
    picture = picture_of(levels_of(image[near]))
    visible = _surroundings(picture, mask[near])
    painted = Image.new("RGBA", (visible.height, visible.width))
    blocks = visible_blocks(image, visible, left, top)
    painted.paste(_base(blocks, box), (box[1] - top, box[0] - left))
    for radius, times in LAYERS:
        for layer, place in blurred_rim(visible, radius, rim_of(mask[near], reach_of(radius))):
            over, part = layer.convert("RGBA"), painted.crop(place)
            for _ in range(times):
                part = Image.alpha_composite(part, over)
            painted.paste(part, place[:2])
    inside = box[0] - left, box[1] - top, box[2] - left, box[3] - top
    painted = painted.transpose(Image.Transpose.TRANSPOSE).crop(inside)
    empty = painted.getchannel("A").point([255] + [0] * 255)
    painted = painted.convert("RGB")
    if empty.getbbox():
        painted.paste(_mean_colour(image, mask), mask=empty)
    clear = (mask[box[1] : box[3], box[0] : box[2]] == 0).to(torch.uint8) * 255
    painted.paste(picture.crop(inside), mask=picture_of(clear))
    return levels_in(painted)


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
        require_one_size(mask, image)
        masks = mask.reshape(-1, *mask.shape[-2:])
        filled = image[..., :3].cpu().clone()
        for turn, picture in enumerate(filled):
            drawn = levels_of(masks[turn % len(masks)])
            box = picture_of(drawn).getbbox()
            if box is not None:
                left, top, right, bottom = box
                torch.div(painted_box(picture, drawn, box), 255, out=picture[top:bottom, left:right])
        return (filled.to(image.device),)
