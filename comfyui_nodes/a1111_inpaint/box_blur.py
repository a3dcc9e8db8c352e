"""Pillow's Gaussian blur without its rounding to 8 bits, for planes of blocks of pixels.

Pillow (ImageFilter.GaussianBlur) takes three box blurs each way, of one fractional radius that has the Gaussian's
variance, and repeats the edge before each. But for the rounding that is linear: here it is a product with how much each
place holds of the others. Knows no picture's meaning.
"""

import math
from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from .levels import Box

_PASSES = 3
_BAND = 32
"""Places that are computed at once."""


def box_radius(radius: float) -> float:
    """Of the box whose three passes have the Gaussian's variance: Gwosdek et al. 2011, "Extended Box Filters"."""
    variance = radius**2 / _PASSES
    whole = math.floor((math.sqrt(12 * variance + 1) - 1) / 2)
    rest = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance)
    return whole + rest / (6 * (variance - (whole + 1) ** 2))


@lru_cache(maxsize=32)
def _weights(length: int, radius: float) -> Tensor:
    """What each place of a blurred row holds of the row before it and of the two ends: float32 (length, length + 2)."""
    size = box_radius(radius)
    whole, step = int(size), int(size) + 1
    before, rows, after = torch.eye(length + 2).split([1, length, 1], 1)
    for _ in range(_PASSES):
        around = torch.cat([before.expand(-1, step), rows, after.expand(-1, step)], 1)
        sums = pad(around.cumsum(1), (1, 0))
        within = sums[:, step + whole + 1 :][:, :length] - sums[:, 1:][:, :length]
        ends = around[:, :length] + around[:, 2 * step :]
        rows = (within + (size - whole) * ends) / (2 * size + 1)
        before, after = rows[:, :1], rows[:, -1:]
    return rows.mT.contiguous()


def _bands(low: int, high: int, length: int, radius: float) -> Iterator[tuple[slice, slice, Tensor]]:
    """Some places of low..high at a time, what they see of a framed row, and how much of that each of them holds."""
    reach = _PASSES * (int(box_radius(radius)) + 1)
    for start in range(low, high, _BAND):
        end = min(start + _BAND, high)
        first, last = max(start - reach, 0), min(end + reach, length)
        weights = _weights(last - first, radius)[start - first : end - first]
        yield slice(start - low, end - low), slice(first, last + 2), weights


def blurred(framed: Tensor, radius: float, box: Box) -> Tensor:
    """float32 (planes, rows + 2, columns + 2) blurred by a radius in rows and columns: without the frame, cut to `box`.

    The frame holds what is repeated beyond the edges: the outermost pixels, where the rows and columns are wider.
    """
    left, top, right, bottom = box
    count, height, width = framed.shape
    half = torch.empty(count, bottom - top, width)
    for there, seen, weights in _bands(top, bottom, height - 2, radius):
        half[:, there] = weights @ framed[:, seen]
    whole = torch.empty(count, bottom - top, right - left)
    for there, seen, weights in _bands(left, right, width - 2, radius):
        whole[:, :, there] = half[:, :, seen] @ weights.mT
    return whole
