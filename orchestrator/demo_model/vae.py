"""A TAESD made by hand: the latent is the mean colour of an 8x8 tile, and the decoder paints the tile in it.

The layout is TAESD's (github.com/madebyollin/taesd): its tanh clamp on the latent is undone by a piecewise linear
function with `_KNOTS` knots a colour, built from ReLU hinges in the first decoder layer.
"""

import torch
from torch import Tensor

LATENT_GAIN = 3.0
"""Latent = (rgb - 0.5) * LATENT_GAIN, rgb in 0..1; the fourth channel is the mean of the three."""

VAE_SCALE = 0.18215
_WIDTH = 64
_KNOTS = 20


def _conv(state: dict[str, Tensor], name: str, out: int, into: int, bias: bool = True) -> Tensor:
    state[name + ".weight"] = torch.zeros(out, into, 3, 3)
    if bias:
        state[name + ".bias"] = torch.zeros(out)
    return state[name + ".weight"]


def _identity_blocks(state: dict[str, Tensor], side: str, first: int, count: int) -> None:
    """Residual blocks whose branch is zero: relu(0 + x), so x where x is not negative."""
    for index in range(first, first + count):
        for layer in (0, 2, 4):
            _conv(state, f"{side}.{index}.conv.{layer}", _WIDTH, _WIDTH)


def _encoder(state: dict[str, Tensor]) -> None:
    side = "taesd_encoder"
    colours = torch.arange(3)
    _conv(state, f"{side}.0", _WIDTH, 3)[colours, colours, 1, 1] = 1.0
    _identity_blocks(state, side, 1, 1)
    for index in (2, 6, 10):  # each halves the picture: a mean over 2x2
        halve = _conv(state, f"{side}.{index}", _WIDTH, _WIDTH, bias=False)
        for colour in range(3):
            halve[colour, colour, 1:, 1:] = 0.25
        _identity_blocks(state, side, index + 1, 3)
    last = _conv(state, f"{side}.14", 4, _WIDTH)
    last[colours, colours, 1, 1] = LATENT_GAIN
    last[3, colours, 1, 1] = LATENT_GAIN / 3
    state[f"{side}.14.bias"] = torch.full((4,), -0.5 * LATENT_GAIN)


def _decoder(state: dict[str, Tensor]) -> None:
    side = "taesd_decoder"
    latent = torch.linspace(-0.5, 0.5, _KNOTS) * LATENT_GAIN
    clamped = 3 * torch.tanh(latent / 3)
    rgb = latent / LATENT_GAIN + 0.5
    slope = rgb.diff() / clamped.diff()
    bend = torch.cat([slope[:1], slope.diff()])
    hinges = _KNOTS - 1
    first = _conv(state, f"{side}.1", _WIDTH, 4)
    last = _conv(state, f"{side}.19", 3, _WIDTH)
    for colour in range(3):
        mine = torch.arange(colour * hinges, (colour + 1) * hinges)
        first[mine, colour, 1, 1] = 1.0
        state[f"{side}.1.bias"][mine] = -clamped[:-1]
        last[colour, mine, 1, 1] = bend
    _identity_blocks(state, side, 3, 3)
    every = torch.arange(_WIDTH)
    for index, blocks in ((7, 3), (12, 3), (17, 1)):  # each follows a nearest upsampling by two
        _conv(state, f"{side}.{index}", _WIDTH, _WIDTH, bias=False)[every, every, 1, 1] = 1.0
        _identity_blocks(state, side, index + 1, blocks)


def build() -> dict[str, Tensor]:
    """The TAESD's tensors, named as below `first_stage_model.` in a checkpoint, float32."""
    state: dict[str, Tensor] = {"vae_scale": torch.tensor(VAE_SCALE), "vae_shift": torch.tensor(0.0)}
    _encoder(state)
    _decoder(state)
    return state


def to_latent(rgb: Tensor) -> Tensor:
    """What the encoder makes of one colour a tile: rgb [batch, 3, h, w] in 0..1 to latents [batch, 4, h, w]."""
    colours = (rgb - 0.5) * LATENT_GAIN
    return torch.cat([colours, colours.mean(1, keepdim=True)], 1)
