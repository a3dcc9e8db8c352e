"""What a latent looks like, cheaply: its four channels mixed to colours, as the checkpoint's own autoencoder would.

The mixture is fitted once for each checkpoint, by least squares, to a chart of colours that the autoencoder encodes:
the decoder itself would cost as much as a step. Knows no node and no socket.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from orchestrator.embedded.vae import LATENT_SCALE, TILE

_SIDE = 8
"""Fields of the chart in a row, each of 2 × 2 tiles."""
_LARGEST = 256
"""Pixels of a preview's longer side."""


@dataclass(frozen=True)
class Mixture:
    """`weights` is [5, 3]: colours in 0..1 for each channel of a latent in the UNet's scale, then what is added."""

    weights: Tensor

    def picture(self, latent: Tensor) -> Image.Image:
        """The first of [batch, 4, h, w] latents in the UNet's scale, enlarged."""
        channels = latent[0].detach().movedim(0, -1).float()
        mixed = channels @ self.weights[:4] + self.weights[4]
        pixels = (mixed.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        height, width = pixels.shape[:2]
        scale = min(_LARGEST / max(height, width), TILE)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def fitted(encode: Callable[[Tensor], Tensor]) -> Mixture:
    """The mixture for an autoencoder: `encode` takes pictures [batch, h, w, 3] in 0..1 to unscaled latents."""
    colours = torch.rand((_SIDE, _SIDE, 3), generator=torch.Generator().manual_seed(0))
    chart = colours.repeat_interleave(2 * TILE, 0).repeat_interleave(2 * TILE, 1)[None]
    with torch.no_grad():
        encoded = encode(chart)
    latent = encoded[0].movedim(0, -1).float() * LATENT_SCALE
    wanted = colours.repeat_interleave(2, 0).repeat_interleave(2, 1).reshape(-1, 3)
    given = torch.cat([latent.reshape(-1, latent.shape[-1]), torch.ones(len(wanted), 1)], 1)
    # An autoencoder may leave a channel empty, which this driver minds least.
    return Mixture(torch.linalg.lstsq(given, wanted, driver="gelsd").solution)
