"""One denoising call: the UNet on the prompt and the negative prompt, guidance between them, and the inpaint blend.

Classifier-free guidance is Ho and Salimans 2022 (arXiv 2207.12598). Knows no sampler and no schedule's steps.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from orchestrator.embedded.schedule import NoiseLevels


@dataclass(frozen=True)
class Inpaint:
    """What stays: `mask` is 1 where the picture may change, [batch, 4, h, w] like `latent`.

    Outside, the latent is shown to the model with `noise` at the level of the call, and is put back in the estimate.
    """

    mask: Tensor
    latent: Tensor
    noise: Tensor

    def before(self, x: Tensor, sigma: Tensor) -> Tensor:
        return x * self.mask + (self.latent + self.noise * sigma) * (1 - self.mask)

    def after(self, clean: Tensor) -> Tensor:
        return clean * self.mask + self.latent * (1 - self.mask)


@dataclass(frozen=True)
class Guidance:
    """Latents at a noise level to the estimate of the clean latent.

    `positive` and `negative` are [1, tokens, 768]; `check` is called before each evaluation and may raise.
    """

    unet: Any
    levels: NoiseLevels
    positive: Tensor
    negative: Tensor
    scale: float
    inpaint: Inpaint | None
    check: Callable[[], None]

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.check()
        if self.inpaint is not None:
            x = self.inpaint.before(x, sigma)
        clean = x - self._noise(x, sigma) * sigma
        return clean if self.inpaint is None else self.inpaint.after(clean)

    def _noise(self, x: Tensor, sigma: Tensor) -> Tensor:
        scaled = x / (sigma**2 + 1).sqrt()
        timestep = self.levels.timestep(sigma[None])
        if math.isclose(self.scale, 1.0):  # the negative prompt would cancel out
            return self._evaluate(scaled, timestep, self.positive)
        if self.positive.shape == self.negative.shape:
            both = torch.cat([self.negative, self.positive])
            negative, positive = self._evaluate(torch.cat([scaled, scaled]), timestep, both).chunk(2)
        else:
            negative = self._evaluate(scaled, timestep, self.negative)
            positive = self._evaluate(scaled, timestep, self.positive)
        return negative + (positive - negative) * self.scale

    def _evaluate(self, scaled: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        text = text.repeat_interleave(scaled.shape[0] // text.shape[0], 0)
        times = timestep.float().expand(scaled.shape[0])
        return self.unet(scaled, times, encoder_hidden_states=text, return_dict=False)[0]
