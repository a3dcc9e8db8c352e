"""The fill's layers on blocks of pixels: blurred without rounding, one over the other.

A layer has no detail finer than its blur, so that one value serves for many pixels. Knows nothing of the mask but what
it leaves visible.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from .box_blur import blurred
from .levels import Box, levels_in, within

Layer: TypeAlias = tuple[int, int, int]
"""Blur radius in pixels, how often the layer is laid over the ones before it, and pixels a side of its blocks."""

LARGEST = 8
"""Pixels a side of the largest blocks, on which whole pictures are seen."""
_NEAR = 64
"""Pixels around a box that all but the widest two layers take in, and what lies between their blocks."""


@dataclass(frozen=True)
class Blocks:
    """Part of a picture in blocks of its pixels: float32 (4, rows, columns), premultiplied levels, alpha last."""

    planes: Tensor
    size: int
    """Pixels a side of a block."""
    left: int
    top: int
    """Where the part begins in the picture, in blocks."""

    def place(self) -> Box:
        """Where the part lies in the picture, in blocks."""
        rows, columns = self.planes.shape[1:]
        return self.left, self.top, self.left + columns, self.top + rows

    def cut(self, place: Box) -> Tensor:
        """The planes of a smaller part, which is told in the picture's blocks."""
        left, top, right, bottom = within(place, self.left, self.top)
        return self.planes[:, top:bottom, left:right]


def _means(values: Tensor, size: int, side: int) -> Tensor:
    """Of each `size` values along a side; the last one counts more often where they do not fit."""
    length = values.shape[side]
    if length % size:
        values = values.index_select(side, torch.arange(-(-length // size) * size).clamp(max=length - 1))
    first, second, *others = values.unflatten(side, (-1, size)).unbind(side + 1)
    means = first + second
    for other in others:
        means += other
    return means.div_(size)


def _framed_means(values: Tensor, size: int, side: int) -> Tensor:
    """The means of each `size` values along a side, between the first and the last value themselves."""
    first, last = values.narrow(side, 0, 1), values.narrow(side, -1, 1)
    return torch.cat([first, _means(values, size, side), last], side)


@dataclass(frozen=True)
class Visible:
    """What is visible of a part of a picture, in blocks: as `blocks`, and framed by the part's outermost pixels."""

    framed: Tensor
    """float32 (4, rows + 2, columns + 2)."""
    size: int
    left: int
    top: int

    @property
    def blocks(self) -> Blocks:
        """Without the frame."""
        return Blocks(self.framed[:, 1:-1, 1:-1], self.size, self.left, self.top)

    def halved(self) -> "Visible":
        """The same in blocks of twice the size."""
        framed = self.framed
        for side in (1, 2):
            first, blocks, last = framed.split([1, framed.shape[side] - 2, 1], side)
            framed = torch.cat([first, _means(blocks, 2, side), last], side)
        return Visible(framed, 2 * self.size, self.left // 2, self.top // 2)


def _framed(picture: Image.Image, size: int) -> Tensor:
    """The blocks of a picture and its outermost pixels around them: uint8 (rows + 2, columns + 2, channels)."""
    width, height = picture.size
    rows = []
    for upper, lower, tall in ((0, 1, 1), (0, height, size), (height - 1, height, 1)):
        columns = ((0, 1, 1), (0, width, size), (width - 1, width, 1))
        line = [picture.crop((first, upper, last, lower)).reduce((wide, tall)) for first, last, wide in columns]
        rows.append(torch.cat([levels_in(part).reshape(part.height, part.width, -1) for part in line], 1))
    return torch.cat(rows)


def visible_blocks(visible: Sequence[Image.Image], size: int, left: int, top: int) -> Visible:
    """What begins at these pixels of a larger picture, in blocks: an RGBa picture, or RGB on black and its alpha, L."""
    levels = torch.cat([_framed(picture, size) for picture in visible], 2)
    framed = levels.permute(2, 0, 1).to(torch.float32, memory_format=torch.contiguous_format)
    return Visible(framed, size, left // size, top // size)


def near(box: Box, mask: Tensor) -> Box:
    """What the narrower layers can see from a box of pixels; it begins and ends between the largest blocks."""
    left, top, right, bottom = box
    return (
        max(left - _NEAR, 0) // LARGEST * LARGEST,
        max(top - _NEAR, 0) // LARGEST * LARGEST,
        min(-(-(right + _NEAR) // LARGEST) * LARGEST, mask.shape[1]),
        min(-(-(bottom + _NEAR) // LARGEST) * LARGEST, mask.shape[0]),
    )


def _touching(first: int, count: int, length: int) -> tuple[slice, slice]:
    """Where some blocks of a row lie in it when both are framed, and where in themselves: with the frame they share."""
    low, high = int(first > 0), count + 1 + int(first + count == length)
    return slice(first + low, first + high), slice(low, high)


def whole_picture(image: Tensor, around: Visible) -> Visible:
    """A picture (height, width, 3 of 0..1) in the blocks that there are around its mask; nothing else is masked."""
    high, wide = around.blocks.planes.shape[1:]
    if (high, wide) == (-(-image.shape[0] // around.size), -(-image.shape[1] // around.size)):
        return around
    levels = _framed_means(_framed_means(image, around.size, 0), around.size, 1).permute(2, 0, 1) * 255
    framed = torch.cat([levels, torch.full_like(levels[:1], 255)])
    rows, own_rows = _touching(around.top, high, framed.shape[1] - 2)
    columns, own_columns = _touching(around.left, wide, framed.shape[2] - 2)
    framed[:, rows, columns] = around.framed[:, own_rows, own_columns]
    return Visible(framed, around.size, 0, 0)


def _over(below: Tensor | None, layer: Tensor, times: int) -> Tensor:
    """The layer over what lies below it, so many times; both are premultiplied levels. Changes the layer."""
    visible = layer[3:] / 255
    through = (1 - visible).pow_(times)
    layer.mul_(torch.where(visible > 0, (1 - through) / visible, 0))  # colours are 0 where alpha is
    return layer if below is None else torch.addcmul(layer, below, through)


def _place(box: Box, size: int, limits: Box) -> Box:
    """The blocks that hold a box of smaller ones, and one more on each side for what lies between their centres."""
    left, top, right, bottom = box
    return (
        max(left // size - 1, limits[0]),
        max(top // size - 1, limits[1]),
        min(-(-right // size) + 1, limits[2]),
        min(-(-bottom // size) + 1, limits[3]),
    )


def resampled(blocks: Blocks, size: int, wanted: Box) -> Tensor:
    """Smaller blocks of what lies at `wanted`, in those blocks: straight lines between the centres of the larger."""
    factor = blocks.size // size
    if factor == 1:
        return blocks.cut(wanted)
    left, top, _, _ = place = _place(wanted, factor, blocks.place())
    planes = interpolate(blocks.cut(place)[None], scale_factor=factor, mode="bilinear")[0]
    return Blocks(planes, size, left * factor, top * factor).cut(wanted)


def laid(layers: Sequence[Layer], visible: Mapping[int, Visible], box: Box) -> Blocks:
    """The layers, one over the other, where a box of pixels needs them: in the last layer's blocks.

    `visible` has the whole picture, or all that is near the box, in each layer's blocks; they do not grow.
    """
    canvas = None
    for radius, times, size in layers:
        source = visible[size]
        left, top, _, _ = place = _place(box, size, source.blocks.place())
        layer = blurred(source.framed, radius / size, within(place, source.left, source.top))
        below = None if canvas is None else resampled(canvas, size, place)
        canvas = Blocks(_over(below, layer, times), size, left, top)
    assert canvas is not None, "there is a layer"
    return canvas
