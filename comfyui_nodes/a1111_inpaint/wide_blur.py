"""Pillow's Gaussian blur at wide radii, in a tenth of its time: what is blurred that far has no detail left.

Pillow (ImageFilter.GaussianBlur) takes three box blurs each way, of one fractional radius that has the Gaussian's
variance, and repeats the edge pixels before each. That is linear but for its rounding to 8 bits after every pass, which
is left out here. Knows no picture's meaning.
"""

import math

import torch
from PIL import Image
from torch import Tensor

_PASSES = 3
_GRAIN = 16
"""A radius is this many blocks of what comes in, and this many steps between the places that go out."""


def box_radius(radius: int) -> float:
    """Of the box whose three passes have the Gaussian's variance: Gwosdek et al. 2011, "Extended Box Filters"."""
    variance = radius**2 / _PASSES
    whole = math.floor((math.sqrt(12 * variance + 1) - 1) / 2)
    rest = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance)
    return whole + rest / (6 * (variance - (whole + 1) ** 2))


def _spread(weights: Tensor, radius: float) -> Tensor:
    """What one box pass reads: weights (places, length) of its results to those of what came in, edges repeated."""
    length, whole = weights.shape[1], int(radius)
    beyond, reach = 2 * whole + 3, 2 * whole + 1
    sums = torch.nn.functional.pad(weights.cumsum(1), (beyond, beyond - 1), mode="replicate")
    sums[:, :beyond] = 0
    read = sums[:, reach + 1 : -1] - sums[:, 1 : -reach - 1]  # from `whole` pixels before a place to as many after it
    read.lerp_(sums[:, reach + 2 :] - sums[:, : -reach - 2], radius - whole).div_(2 * radius + 1)
    spread = read[:, whole + 1 : whole + 1 + length].clone()
    spread[:, 0] += read[:, : whole + 1].sum(1)
    spread[:, -1] += read[:, whole + 1 + length :].sum(1)
    return spread


def _weights(length: int, radius: int, places: Tensor, block: int) -> Tensor:
    """How much of each block of a row the blurred row holds at fractional places: float32 (places, blocks)."""
    below = places.floor().long().clamp(max=length - 1)
    share = (places - below)[:, None].float()
    weights = torch.zeros(len(places), length)
    weights.scatter_add_(1, below[:, None], 1 - share)
    weights.scatter_add_(1, (below + 1).clamp(max=length - 1)[:, None], share)
    for _ in range(_PASSES):
        weights = _spread(weights, box_radius(radius))
    blocks = math.ceil(length / block)
    filled = torch.nn.functional.pad(weights, (0, blocks * block - length))
    return filled.reshape(len(places), blocks, block).sum(2)


def reach_of(radius: int) -> int:
    """How many pixels away something still counts: three boxes of about the radius each."""
    return 3 * radius + 9


def _places(low: int, high: int, step: int) -> Tensor:
    """From the first to the last pixel of low..high in even steps of at most so many pixels."""
    return torch.linspace(low, high - 1, math.ceil((high - 1 - low) / step) + 1, dtype=torch.float64)


def resampled(levels: Tensor, width: int, height: int) -> Tensor:
    """(channels, rows, columns) as (channels, height, width), the corners in place, straight lines in between."""
    return torch.nn.functional.interpolate(levels[None], (height, width), mode="bilinear", align_corners=True)[0]


def blurred(picture: Image.Image, radius: int, box: tuple[int, int, int, int]) -> Tensor:
    """A four-channel picture blurred and cut to `box`, on a coarse grid whose corners are the box's corner pixels.

    float32 (4, rows, columns), in levels; what lies between is a straight line to 0.1 of a level.
    """
    left, top, right, bottom = box
    block, reach = max(radius // _GRAIN, 1), reach_of(radius)
    x, y = max(left - reach, 0), max(top - reach, 0)
    near = picture.crop((x, y, min(right + reach, picture.width), min(bottom + reach, picture.height)))
    small = near.reduce(block) if block > 1 else near
    levels = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).float()
    rows = _weights(near.height, radius, _places(top - y, bottom - y, block), block)
    columns = _weights(near.width, radius, _places(left - x, right - x, block), block)
    narrow = (rows @ levels.reshape(small.height, -1)).reshape(len(rows), small.width, 4)
    return torch.einsum("ax,dxc->cda", columns, narrow)
