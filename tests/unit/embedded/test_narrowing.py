"""Layers with dead rows and columns compute the same with them left out."""

import pytest
import torch
from torch import nn

from orchestrator.embedded.narrowing import narrow, refresh


def thinned(layer: nn.Module, outputs: int, inputs: int) -> nn.Module:
    with torch.no_grad():
        layer.weight[outputs:] = 0
        layer.weight[:, inputs:] = 0
    return layer


CONVOLUTION = {"kernel_size": 3, "padding": 1}
LAYERS = [
    (lambda: nn.Linear(40, 30), (5, 40)),
    (lambda: nn.Conv2d(40, 30, **CONVOLUTION), (2, 40, 7, 9)),
    (lambda: nn.Conv2d(40, 30, 3, padding=1, stride=2), (2, 40, 8, 9)),
    (lambda: nn.Conv2d(40, 30, 1, bias=False), (2, 40, 3, 3)),
]


@pytest.mark.parametrize(("make", "shape"), LAYERS)
@pytest.mark.parametrize("live", [(8, 10), (30, 4), (0, 0)])
@torch.no_grad()
def test_a_narrowed_layer_gives_what_the_whole_one_gives(make, shape, live) -> None:  # type: ignore[no-untyped-def]
    layer = thinned(make(), *live)
    x = torch.randn(shape)
    whole = layer(x)
    narrow(layer)
    assert "forward" in vars(layer)
    assert torch.allclose(layer(x), whole, atol=1e-5)


@torch.no_grad()
def test_a_full_layer_is_left_alone() -> None:
    layer = narrow(nn.Linear(40, 30))
    assert "forward" not in vars(layer)


@torch.no_grad()
def test_a_layer_whose_weights_change_is_judged_anew() -> None:
    layer = narrow(thinned(nn.Linear(40, 30), 4, 4))
    layer.weight.data = torch.randn(30, 40)
    refresh(layer)
    x = torch.randn(2, 40)
    assert torch.allclose(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
