"""Pillow's Gaussian blur at wide radii, in a tenth of its time: what is blurred that far has no detail left.

Pillow (ImageFilter.GaussianBlur) takes three box blurs each way, of one fractional radius that has the Gaussian's
variance, and repeats the edge pixels before each. That is linear but for its rounding to 8 bits after every pass, which
is left out here. Knows no picture's meaning.
"""

import math

import torch
from PIL import Image
from torch import Tensor

from .levels import Box

_PASSES = 3
BLOCK, _STEPS = 4, 8
"""Pixels a side of what comes in, and steps between the places that go out for each radius."""


def box_radius(radius: float) -> float:
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
    read = sums[:, reach + 1 : -1] - sums[:, 1 : -reach - 1]  # from `whole` blocks before a place to as many after it
    read.lerp_(sums[:, reach + 2 :] - sums[:, : -reach - 2], radius - whole).div_(2 * radius + 1)
    spread = read[:, whole + 1 : whole + 1 + length].clone()
    spread[:, 0] += read[:, : whole + 1].sum(1)
    spread[:, -1] += read[:, whole + 1 + length :].sum(1)
    return spread


def _weights(blocks: int, radius: int, places: Tensor) -> Tensor:
    """How much of each block of a row the blurred row holds at some pixels: float32 (places, blocks)."""
    centres = ((places + 0.5) / BLOCK - 0.5).clamp(0, blocks - 1)
    below = centres.floor().long()
    share = (centres - below)[:, None].float()
    weights = torch.zeros(len(places), blocks)
    weights.scatter_add_(1, below[:, None], 1 - share)
    weights.scatter_add_(1, (below + 1).clamp(max=blocks - 1)[:, None], share)
    for _ in range(_PASSES):
        weights = _spread(weights, box_radius(radius / BLOCK))
    return weights


def _places(low: int, high: int, step: int) -> Tensor:
    """From the first to the last pixel of low..high in even steps of at most so many pixels."""
    return torch.linspace(low, high - 1, math.ceil((high - 1 - low) / step) + 1, dtype=torch.float64)


def resampled(levels: Tensor, width: int, height: int) -> Tensor:
    """(channels, rows, columns) as (channels, height, width), the corners in place, straight lines in between."""
    return torch.nn.functional.interpolate(levels[None], (height, width), mode="bilinear", align_corners=True)[0]


def _means(values: Tensor) -> Tensor:
    """Of each 4x4 pixels of (height, width, channels); the last row and column count more where they do not fit."""
    for side in (0, 1):
        length = values.shape[side]
        if length % BLOCK:
            repeated = torch.arange(length + -length % BLOCK).clamp(max=length - 1)
            values = values.index_select(side, repeated)
    rows = values.reshape(values.shape[0] // BLOCK, BLOCK, -1).sum(1)
    columns = rows.reshape(len(rows), -1, BLOCK, values.shape[2]).unbind(2)
    return torch.stack(columns).sum(0).div_(BLOCK**2)


def visible_blocks(image: Tensor, near: Image.Image, left: int, top: int) -> Tensor:
    """A picture (height, width, 3 of 0..1) in premultiplied levels, with its alpha, one for each 4x4 pixels.

    float32 (rows, columns, 4). Around a mask `near` tells what is visible, with premultiplied alpha, from `left` and
    `top` on, which are multiples of 4.
    """
    colour = _means(image).mul_(255)
    blocks = torch.cat([colour, torch.full_like(colour[..., :1], 255)], 2)
    small = near.reduce(BLOCK)
    levels = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).reshape(small.height, small.width, 4)
    down, across = top // BLOCK, left // BLOCK
    blocks[down : down + small.height, across : across + small.width] = levels
    return blocks


def blurred(blocks: Tensor, radius: int, box: Box) -> Tensor:
    """What `visible_blocks` gives, blurred by a radius in pixels and cut to `box`.

    float32 (4, rows, columns) on a coarse grid whose corners are the box's corner pixels; what lies between is a
    straight line to 0.2 of a level.
    """
    left, top, right, bottom = box
    step = radius // _STEPS
    rows = _weights(blocks.shape[0], radius, _places(top, bottom, step))
    columns = _weights(blocks.shape[1], radius, _places(left, right, step))
    narrow = (rows @ blocks.reshape(len(blocks), -1)).reshape(len(rows), -1, 4)
    return narrow.permute(2, 0, 1) @ columns.mT
