"""Node: from the mask that the artist drew to the three masks that an inpainting run needs.

Rules: A1111 v1.10.1, `modules/processing.py` 1610-1660 (mask) and 1738-1745 (latent mask), with two changes on
purpose: the mask takes the picture's size before it is blurred, and the feather lies inside the mask unless it is asked
to lie outside as there, so that the rest of the picture stays exact. Must not know how the masks are used.
"""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch.nn.functional import interpolate, pad

from .blur import gaussian_blur
from .levels import levels_in, levels_of, picture_of, put_values

LATENT_CELL = 8
"""Pixels that one latent cell covers in each direction."""
FEATHERS = ["inside", "outside"]


def chosen_pixels(mask: torch.Tensor, width: int, height: int, invert: bool) -> torch.Tensor:
    """Which pixels a mask (h, w) of 0..1 chooses, bool (height, width): resized, cut at 0.5, inverted."""
    if mask.shape == (height, width):
        chosen = mask >= 0.5
    else:
        chosen = levels_in(picture_of(levels_of(mask)).resize((width, height), Image.Resampling.LANCZOS)) >= 128
    return ~chosen if invert else chosen


def _held(levels: torch.Tensor) -> tuple[slice, slice]:
    """The rows and columns, in whole cells, outside of which uint8 (8h, 8w) is zero, and three cells more."""
    box = picture_of(levels).getbbox() or (0, 0, 0, 0)
    low, high = ([side // LATENT_CELL for side in sides] for sides in (box[:2], box[2:]))
    (left, top), (right, bottom) = ([max(cell - 3, 0) for cell in low], [cell + 4 for cell in high])
    return slice(LATENT_CELL * top, LATENT_CELL * bottom), slice(LATENT_CELL * left, LATENT_CELL * right)


def latent_mask(blurred: torch.Tensor) -> torch.Tensor:
    """Levels (8h, 8w) scaled down to one binary cell, 0 or 1, for each 8x8 tile: bicubic, half and less is 0."""
    cells = torch.zeros(blurred.shape[0] // LATENT_CELL, blurred.shape[1] // LATENT_CELL)
    rows, columns = _held(blurred)
    part = cells[rows.start // LATENT_CELL : rows.stop // LATENT_CELL]
    part = part[:, columns.start // LATENT_CELL : columns.stop // LATENT_CELL]
    small = interpolate(blurred[None, None, rows, columns], part.shape, mode="bicubic", antialias=True)[0, 0]
    part.copy_(small >= 128)
    return cells


def pad_picture(image: torch.Tensor) -> torch.Tensor:
    """IMAGE with its last column and row repeated up to a multiple of 8."""
    right, bottom = -image.shape[2] % LATENT_CELL, -image.shape[1] % LATENT_CELL
    if not right and not bottom:
        return image
    return pad(image.movedim(-1, 1), (0, right, 0, bottom), mode="replicate").movedim(1, -1)


def overlay_mask(levels: torch.Tensor, chosen: torch.Tensor, feather: str) -> torch.Tensor:
    """How much of the result shows, 0..1, from the blurred levels and the chosen pixels."""
    doubled = levels.to(torch.float32).mul_(2)
    if feather == "outside":
        return doubled.clamp_(max=255).div_(255)
    # In a concave corner more than half of the blur's window can be mask although the pixel itself is not.
    return doubled.sub_(255).clamp_(min=0).div_(255).mul_(chosen)


def _prepared(
    mask: torch.Tensor, size: tuple[int, int], blur: int, invert: bool, feather: str
) -> tuple[torch.Tensor, ...]:
    """The latent, overlay and blurred mask of one picture of (width, height)."""
    width, height = size
    right, bottom = -width % LATENT_CELL, -height % LATENT_CELL
    chosen = chosen_pixels(mask, width, height, invert)
    levels = gaussian_blur(chosen.to(torch.uint8) * 255, blur)
    # As the picture: with 0 there, a last cell of which the picture has three pixels or fewer would never be repainted.
    if right or bottom:
        levels = levels[torch.arange(height + bottom).clamp(max=height - 1)]
        levels = levels[:, torch.arange(width + right).clamp(max=width - 1)]
        chosen = pad(chosen, (0, right, 0, bottom))
    held = _held(levels)
    overlay, blurred = torch.zeros(levels.shape), torch.zeros(levels.shape)
    overlay[held] = overlay_mask(levels[held], chosen[held], feather)
    put_values(levels[held], blurred[held])
    return latent_mask(levels), overlay, blurred


def _batch(masks: Sequence[torch.Tensor]) -> torch.Tensor:
    """Of one mask without a copy of it."""
    return torch.stack(masks) if len(masks) > 1 else masks[0][None]


class A1111InpaintMasks:
    """IMAGE (batch, height, width, channels) and MASK (batch, any size) → padded IMAGE and three MASKs, one a picture.

    Missing masks are repeated from the first on and spare ones are left out, as core nodes do.
    """

    CATEGORY = "inpaint/a1111"
    DESCRIPTION = (
        "Prepares a picture and its mask for inpainting as Stable Diffusion WebUI does it. White is repainted. "
        "The picture keeps its size; where that is no multiple of 8, its edge is repeated at the right and the bottom."
    )
    FUNCTION = "prepare"
    RETURN_TYPES = ("IMAGE", "MASK", "MASK", "MASK")
    RETURN_NAMES = ("image", "latent_mask", "overlay_mask", "blurred_mask")
    OUTPUT_TOOLTIPS = (
        "The picture, padded to a multiple of 8. Encode this one.",
        "One hard-edged cell for each 8x8 pixels, for Set Latent Noise Mask.",
        "How much of the result shows, fading at the mask's edge. For Image Composite Masked.",
        "The mask as it was blurred, for A1111 Inpaint Fill.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        blur = "How many pixels wide the edge fades (sigma of a Gaussian). 0 is a hard edge."
        feather = "inside keeps every pixel outside the mask; outside fades beyond the edge, as WebUI does."
        invert = "0 repaints what is white, 1 repaints the rest."
        return {
            "required": {
                "image": ("IMAGE", {"tooltip": "The picture to repaint."}),
                "mask": ("MASK", {"tooltip": "White is repainted. Any size: it is stretched to the picture's."}),
                "mask_blur": ("INT", {"default": 4, "min": 0, "max": 64, "tooltip": blur}),
                "invert": ("INT", {"default": 0, "min": 0, "max": 1, "tooltip": invert}),
                "feather": (FEATHERS, {"default": "inside", "tooltip": feather}),
            }
        }

    def prepare(
        self, image: torch.Tensor, mask: torch.Tensor, mask_blur: int, invert: int, feather: str = "inside"
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        pictures, height, width = image.shape[:3]
        drawn = mask.reshape(-1, *mask.shape[-2:])[:pictures].cpu()
        prepared = [_prepared(one, (width, height), mask_blur, invert == 1, feather) for one in drawn]
        served = [prepared[turn % len(prepared)] for turn in range(pictures)]
        cells, overlay, blurred = (_batch(kind).to(image.device) for kind in zip(*served, strict=True))
        return pad_picture(image), cells, overlay, blurred
