"""Node: paints over the masked region with the colours around it, blurred (inpainting_fill 0).

Rule: A1111 v1.10.1, `modules/masking.py` 80-96: layers of the surroundings, blurred less and less, one over the other.
Unlike WebUI, which leaves black where nothing of the surroundings arrives (all of an all-white mask, the middle of a
huge one), those pixels get the mean colour. Must not know the other nodes.
"""

from functools import partial
from typing import Any

import torch
from PIL import ImageStat

from . import fill_by_blocks, fill_by_pixels
from .levels import Box, levels_of, picture_of, put_values, require_one_size

SMALL = 2**17
"""Pixels in the box around a mask up to which Pillow's rounding is followed: there its time is short as well."""


def _mean_colour(image: torch.Tensor, mask: torch.Tensor) -> tuple[int, ...]:
    """Of what is not masked at all, else of the whole picture."""
    clear = picture_of((mask == 0).to(torch.uint8) * 255)
    levels = picture_of(levels_of(image))
    return tuple(round(level) for level in ImageStat.Stat(levels, clear if clear.getbbox() else None).mean)


def _painted(image: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, Box] | None:
    """Levels of the box around what is masked, that painted over, and where the box lies. None if nothing is masked."""
    box = picture_of(mask).getbbox()
    if box is None:
        return None
    left, top, right, bottom = box
    paint = fill_by_pixels.painted if (right - left) * (bottom - top) <= SMALL else fill_by_blocks.painted
    return paint(image, mask, box, partial(_mean_colour, image, mask)), box


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
        pictures = image[..., :3].cpu()
        painted = [_painted(picture, levels_of(masks[turn % len(masks)])) for turn, picture in enumerate(pictures)]
        filled = pictures.clone()  # after all else, so that it can have the memory that was needed for that
        for picture, part in zip(filled, painted, strict=True):
            if part is not None:
                levels, (left, top, right, bottom) = part
                put_values(levels, picture[top:bottom, left:right])
        return (filled.to(image.device),)
