"""Pillow's LANCZOS for enlarging, as products of matrices in two thirds of its time. Knows no picture's meaning.

Pillow takes rows first, then columns, and rounds to whole levels after each; its weights are the windowed sinc of three
lobes, widened where a side shrinks. One level in ten thousand is another, where the rounding is a close call.
"""

from functools import lru_cache

import torch
from torch import Tensor

_LOBES = 3
_ACROSS, _DOWN = 16, 64
"""Columns and rows that one product makes: the weights are a narrow band, of which a wide product is mostly zeros."""


@lru_cache(maxsize=4)
def _bands(length: int, size: int, step: int) -> tuple[tuple[slice, slice, Tensor], ...]:
    """Which of `size` results come from which of `length` values, and with what weights (results, values).

    Kept, since a picture and its mask take the same.
    """
    scale = length / size
    wide = max(scale, 1.0)
    centres = (torch.arange(size, dtype=torch.float64)[:, None] + 0.5) * scale
    first = (centres - _LOBES * wide).floor().long()
    places = first + torch.arange(int(2 * _LOBES * wide) + 3)
    away = (places + 0.5 - centres) / wide
    inside = (away.abs() < _LOBES) & (places >= 0) & (places < length)
    weights = torch.where(inside, torch.sinc(away) * torch.sinc(away / _LOBES), 0.0)
    weights = (weights / weights.sum(1, keepdim=True)).float()
    places = places.clamp(0, length - 1)
    bands = []
    for start in range(0, size, step):
        results = slice(start, start + step)
        low, high = int(places[results].min()), int(places[results].max()) + 1
        band = torch.zeros(len(places[results]), high - low)
        band.scatter_add_(1, places[results] - low, weights[results])
        bands.append((results, slice(low, high), band))
    return tuple(bands)


def resized(levels: Tensor, width: int, height: int) -> Tensor:
    """uint8 (rows, columns) or (rows, columns, channels) as float32 whole levels of that height and width."""
    rows, columns = levels.shape[:2]
    channels = levels[0, 0].numel()
    values = levels.reshape(rows, -1).float()
    across = torch.empty(rows, width * channels)
    for to, of, band in _bands(columns, width, _ACROSS):
        each = (band.T[:, None, :, None] * torch.eye(channels)[:, None]).reshape(-1, len(band) * channels)
        wide = slice(to.start * channels, to.stop * channels)
        part = values[:, of.start * channels : of.stop * channels] @ each
        across[:, wide] = part.round_().clamp_(0, 255)
    down = torch.empty(height, width * channels)
    for to, of, band in _bands(rows, height, _DOWN):
        torch.mm(band, across[of], out=down[to]).round_().clamp_(0, 255)
    return down.reshape(height, width, *levels.shape[2:])
