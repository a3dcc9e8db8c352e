"""Leaves out multiplications by zero: layers of which whole rows and columns are zero compute with the rest alone.

The demo model is a narrow net written into the full layout of Stable Diffusion 1.5, nearly all zeros; this makes it
as fast as it is small, on the same file and with the same output to float rounding. Ordinary checkpoints have no such
layers and are left as they are. Knows no model in particular.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import Conv2d, Linear, functional

_WORTH_IT = 0.5
"""Layers that keep a larger share of their weights than this are left alone: gathering costs time too."""


def _live(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the outputs and inputs that some weight other than zero belongs to."""
    used = weight != 0
    if used.dim() > 2:
        used = used.flatten(2).any(2)
    return used.any(1).nonzero().flatten(), used.any(0).nonzero().flatten()


class _Narrow:
    """The computation of one layer with its zeros left out; takes the place of the layer's `forward`."""

    def __init__(self, layer: Any, outputs: Tensor, inputs: Tensor) -> None:
        self._axis = 1 if isinstance(layer, Conv2d) else -1
        self._outputs, self._inputs = outputs, inputs
        self._weight = layer.weight.data[outputs][:, inputs].contiguous()
        bias = layer.bias
        self._full_bias = layer.weight.new_zeros(layer.weight.shape[0]) if bias is None else bias.data
        self._bias = self._full_bias[outputs]
        self._conv = (layer.stride, layer.padding, layer.dilation) if isinstance(layer, Conv2d) else None

    def __call__(self, x: Tensor) -> Tensor:
        if not len(self._outputs):
            return self._constant(x)
        used = x.index_select(self._axis, self._inputs)
        if self._conv is None:
            some = functional.linear(used, self._weight, self._bias)
        else:
            some = functional.conv2d(used, self._weight, self._bias, *self._conv)
        shape = list(some.shape)
        shape[self._axis] = len(self._full_bias)
        return self._filled(some.new_empty(shape)).index_copy_(self._axis, self._outputs, some)

    def _filled(self, empty: Tensor) -> Tensor:
        bias = self._full_bias
        return empty.copy_(bias[:, None, None] if self._conv is not None else bias)

    def _constant(self, x: Tensor) -> Tensor:
        """A layer without any weight gives its bias everywhere; a convolution's size follows from its numbers."""
        if self._conv is None:
            return self._filled(x.new_empty(*x.shape[:-1], len(self._full_bias)))
        sides = zip(x.shape[2:], self._weight.shape[2:], *self._conv, strict=True)
        size = [(length + 2 * pad - gap * (kernel - 1) - 1) // stride + 1 for length, kernel, stride, pad, gap in sides]
        return self._filled(x.new_empty(x.shape[0], len(self._full_bias), *size))


def refresh(layer: Any) -> None:
    """Decides anew for one layer, after its weights have changed. Layers of other kinds are left alone."""
    layer.__dict__.pop("forward", None)
    if not isinstance(layer, Conv2d | Linear):
        return
    if isinstance(layer, Conv2d) and (layer.groups != 1 or isinstance(layer.padding, str)):
        return
    outputs, inputs = _live(layer.weight.data)
    if len(outputs) * len(inputs) <= _WORTH_IT * layer.weight.shape[0] * layer.weight.shape[1]:
        layer.forward = _Narrow(layer, outputs, inputs)


def narrow(module: Any) -> Any:
    """The module, each of its layers as narrow as its zeros allow."""
    with torch.no_grad():
        for layer in module.modules():
            refresh(layer)
    return module
