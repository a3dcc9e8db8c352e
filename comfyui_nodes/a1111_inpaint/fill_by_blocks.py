"""The fill of a large mask: WebUI's layers on blocks of 2x2 or more pixels, and without Pillow's rounding.

In a third of the time. Only the last layer, the surroundings as they are, is laid pixel by pixel.
"""

from collections.abc import Callable

import torch
from PIL import Image
from torch.nn.functional import interpolate

from .block_layers import LARGEST, Blocks, Visible, laid, near, visible_blocks, whole_picture
from .levels import Box, cut, levels_in, levels_of, picture_of, within

_WIDE = ((256, 1, LARGEST), (64, 1, LARGEST), (16, 2, 4))
_NARROW = ((4, 4), (2, 2))
"""Blur radius in pixels, and how often that layer is laid over the ones before it, on the smallest blocks."""
_PAIRS_UP_TO, _THIN = 2**19, 2**15
"""Pixels in the box around a mask, and masked ones, up to which the smallest blocks are of 2x2 pixels, not 4x4."""


def _surroundings(picture: Image.Image, mask: torch.Tensor) -> tuple[Image.Image, Image.Image]:
    """What is not masked, on black, and how much of it: RGB and L. As RGBa has it, in less time."""
    visible = picture.copy()
    visible.paste(Image.new("RGB", picture.size), mask=picture_of(mask))
    return visible, picture_of(255 - mask)


def _by_size(finest: Visible, image: torch.Tensor) -> dict[int, Visible]:
    """The same in blocks of all sizes, and the whole picture in the largest."""
    visible = {finest.size: finest}
    while finest.size < LARGEST:
        finest = finest.halved()
        visible[finest.size] = finest
    return visible | {LARGEST: whole_picture(image, finest)}


def _in_pixels(canvas: Blocks, box: Box, mean: Callable[[], tuple[int, ...]]) -> torch.Tensor:
    """The canvas in a box of pixels: uint8 (rows, columns, 3)."""
    size = canvas.size
    left, top, right, bottom = box
    first_column, first_row = left // size, top // size
    planes = canvas.cut((first_column, first_row, -(-right // size), -(-bottom // size)))
    colours = planes[:3] * (255 / planes[3])
    empty = planes[3] < 0.5  # to WebUI, whose levels are whole
    if empty.any():
        colours = torch.where(empty, torch.tensor(mean())[:, None, None].float(), colours)
    levels = cut(colours)[None].contiguous(memory_format=torch.channels_last)  # as Pillow cuts them, layer by layer
    # Enlarging is the same with antialias and without; with it torch has a fast way for 8 bits.
    pixels = interpolate(levels, scale_factor=size, mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    across, down = left - first_column * size, top - first_row * size
    return pixels[down : down + bottom - top, across : across + right - left]


def painted(image: torch.Tensor, mask: torch.Tensor, box: Box, mean: Callable[[], tuple[int, ...]]) -> torch.Tensor:
    """A picture (height, width, 3 of 0..1) with its masked part (255 in `mask`) painted over: levels, cut to `box`.

    As `fill_by_pixels.painted`, whose values these are but for the rounding and what blocks of pixels blur.
    """
    left, top, right, bottom = near(box, mask)
    picture, hidden = picture_of(levels_of(image[top:bottom, left:right])), mask[top:bottom, left:right]
    small = (box[2] - box[0]) * (box[3] - box[1]) <= _PAIRS_UP_TO or hidden.count_nonzero() <= _THIN
    size = 2 if small else 4
    visible = _by_size(visible_blocks(_surroundings(picture, hidden), size, left, top), image)
    canvas = laid((*_WIDE, *((radius, times, size) for radius, times in _NARROW)), visible, box)
    inside = within(box, left, top)
    over, drawn = picture_of(_in_pixels(canvas, box, mean)), picture_of(hidden).crop(inside)
    picture.paste(over, inside[:2], drawn)
    return levels_in(picture.crop(inside))
