"""The fill of a small mask: WebUI's layers with Pillow's rounding, which is part of its result.

But for the widest two, which are laid on blocks of pixels; the others are blurred by Pillow where they can show.
"""

from collections.abc import Callable

import torch
from PIL import Image

from .block_layers import LARGEST, laid, near, resampled, visible_blocks, whole_picture
from .levels import Box, cut, levels_in, levels_of, picture_of, within
from .rim_blur import blurred_rim, reach_of, rim_of

_WIDE = ((256, 1, LARGEST), (64, 1, LARGEST))
_NARROW = ((16, 2), (4, 4), (2, 2), (0, 1))
"""Blur radius in pixels, and how often that layer is laid over the ones before it."""


def _surroundings(picture: Image.Image, mask: torch.Tensor) -> Image.Image:
    """What is not masked, with premultiplied alpha 255 - mask."""
    visible = picture.copy()
    visible.putalpha(picture_of(255 - mask))
    return visible.convert("RGBa")


def _base(image: torch.Tensor, visible: Image.Image, left: int, top: int, box: Box) -> Image.Image:
    """The wide layers, one over the other, cut to `box`; rows and columns exchanged."""
    whole = whole_picture(image, visible_blocks([visible], LARGEST, left, top))
    levels = resampled(laid(_WIDE, {LARGEST: whole}, box), 1, box)
    levels[:3] *= 255 / levels[3].clamp(min=0.5)  # its colours are cut to whole levels, as Pillow does there
    levels[3] += 0.5
    return Image.merge("RGBA", [picture_of(plane) for plane in cut(levels.mT)])


def painted(image: torch.Tensor, mask: torch.Tensor, box: Box, mean: Callable[[], tuple[int, ...]]) -> torch.Tensor:
    """A picture (height, width, 3 of 0..1) with its masked part (255 in `mask`) painted over: levels, cut to `box`.

    The mask is 0 outside the box. Pixels whose mask is 0 stay as they are, in whole levels; those where nothing of the
    surroundings arrives get the mean colour.
    """
    left, top, right, bottom = near(box, mask)
    picture, hidden = picture_of(levels_of(image[top:bottom, left:right])), mask[top:bottom, left:right]
    visible = _surroundings(picture, hidden)
    canvas = Image.new("RGBA", (visible.height, visible.width))
    canvas.paste(_base(image, visible, left, top, box), (box[1] - top, box[0] - left))
    for radius, times in _NARROW:
        for layer, place in blurred_rim(visible, radius, rim_of(hidden, reach_of(radius))):
            over, part = layer.convert("RGBA"), canvas.crop(place)
            for _ in range(times):
                part = Image.alpha_composite(part, over)
            canvas.paste(part, place[:2])
    inside = within(box, left, top)
    canvas = canvas.transpose(Image.Transpose.TRANSPOSE).crop(inside)
    empty = canvas.getchannel("A").point([255] + [0] * 255)
    canvas = canvas.convert("RGB")
    if empty.getbbox():
        canvas.paste(mean(), mask=empty)
    clear = (mask[box[1] : box[3], box[0] : box[2]] == 0).to(torch.uint8) * 255
    canvas.paste(picture.crop(inside), mask=picture_of(clear))
    return levels_in(canvas)
