"""Pasting one batch of planes into another through a mask, for pictures and for latents alike. Pure torch."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def repeated(batch: Tensor, count: int) -> Tensor:
    """A batch cut or repeated to `count` members."""
    return batch.repeat(math.ceil(count / batch.shape[0]), *[1] * (batch.dim() - 1))[:count]


def resized(planes: Tensor, height: int, width: int) -> Tensor:
    """Planes [n, c, h, w] scaled bilinearly without antialiasing, as ComfyUI scales masks."""
    if planes.shape[-2:] == (height, width):
        return planes
    return functional.interpolate(planes, size=(height, width), mode="bilinear")


def composite(destination: Tensor, source: Tensor, left: int, top: int, mask: Tensor | None, resize: bool) -> Tensor:
    """`destination` [n, c, h, w] with `source` pasted at (left, top), where `mask` (scaled to the source) is one.

    `left` and `top` are in cells of these planes, 0 or more; what sticks out is cut off. Gives a new tensor.
    """
    height, width = destination.shape[-2:]
    if resize:
        source = resized(source, height, width)
    source = repeated(source, destination.shape[0])
    alpha = torch.ones_like(source[:, :1])
    if mask is not None:
        planes = mask.reshape(-1, 1, mask.shape[-2], mask.shape[-1]).float()
        alpha = repeated(resized(planes, *source.shape[-2:]), source.shape[0])
    rows, columns = min(source.shape[-2], height - top), min(source.shape[-1], width - left)
    result = destination.clone()
    if rows <= 0 or columns <= 0:
        return result
    alpha, source = alpha[..., :rows, :columns], source[..., :rows, :columns]
    below = result[..., top : top + rows, left : left + columns]
    result[..., top : top + rows, left : left + columns] = alpha * source + (1 - alpha) * below
    return result
