"""One denoising call: the UNet on the prompt and the negative prompt, guidance between them, and the inpaint blend.

Classifier-free guidance is Ho and Salimans 2022 (arXiv 2207.12598). Knows no sampler and no schedule's steps.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from orchestrator.embedded.schedule import NoiseLevels
from orchestrator.embedded.vae import LATENT_SCALE

_GREY_LATENT = (0.8223, -0.6876, 0.6364, 0.1380)
"""Mid-grey in Stable Diffusion 1.5's latent space, in the model's scale."""


_TOGETHER = 2
"""Texts in one evaluation, so that a prompt of many parts takes no more memory than one beside its negative."""


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


def surroundings(unet: Any, latent: Tensor, extras: Mapping[str, Any]) -> Tensor | None:
    """What an inpainting UNet reads beside `latent` (in the model's scale), None for an ordinary one.

    `extras` of a conditioning may hold `concat_latent_image`, in the autoencoder's scale, and `concat_mask`. Without
    them everything is masked and the surroundings are grey, as in ComfyUI.
    """
    if unet.config.in_channels == latent.shape[1]:
        return None
    shape = latent.shape[0], 1, *latent.shape[2:]
    if "concat_latent_image" not in extras:
        grey = latent.new_tensor(_GREY_LATENT).reshape(1, -1, 1, 1).expand(latent.shape)
        return torch.cat([latent.new_ones(shape), grey], 1)
    mask = extras["concat_mask"].round().expand(shape)
    return torch.cat([mask, (extras["concat_latent_image"] * LATENT_SCALE).expand(latent.shape)], 1)


@dataclass(frozen=True)
class Guidance:
    """A UNet's noise for latents at a level. Texts are [1, tokens, 768].

    `check` is called before each evaluation and may raise.
    """

    unet: Any
    levels: NoiseLevels
    check: Callable[[], None]
    beside: Tensor | None = None
    """What an inpainting UNet reads beside the latent: mask and surroundings, [batch, 5, h, w]."""

    def noises(self, x: Tensor, sigma: Tensor, texts: Sequence[Tensor]) -> list[Tensor]:
        """The noise for each text, evaluated two at a time where those are of one length."""
        scaled = x / (sigma**2 + 1).sqrt()
        if self.beside is not None:
            scaled = torch.cat([scaled, self.beside], 1)
        timestep = self.levels.timestep(sigma.reshape(-1)[:1])
        noises: list[Tensor] = []
        for first in range(0, len(texts), _TOGETHER):
            self.check()
            group = texts[first : first + _TOGETHER]
            if len({text.shape for text in group}) == 1:
                together = torch.cat([scaled] * len(group))
                noises += self._evaluate(together, timestep, torch.cat(list(group))).chunk(len(group))
            else:
                noises += [self._evaluate(scaled, timestep, text) for text in group]
        return noises

    def guided_noise(self, x: Tensor, sigma: Tensor, negative: Tensor, positive: Tensor, scale: float) -> Tensor:
        """The noise of the positive text, led away from that of the negative one."""
        if math.isclose(scale, 1.0):  # the negative prompt would cancel out
            return self.noises(x, sigma, [positive])[0]
        without, wanted = self.noises(x, sigma, [negative, positive])
        return without + (wanted - without) * scale

    def _evaluate(self, scaled: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        text = text.repeat_interleave(scaled.shape[0] // text.shape[0], 0)
        times = timestep.float().expand(scaled.shape[0])
        return self.unet(scaled, times, encoder_hidden_states=text, return_dict=False)[0]


@dataclass(frozen=True)
class Prompted:
    """Latents at a noise level to the estimate of the clean latent: guidance between two texts, and the blend."""

    guidance: Guidance
    positive: Tensor
    negative: Tensor
    scale: float
    inpaint: Inpaint | None

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        if self.inpaint is not None:
            x = self.inpaint.before(x, sigma)
        clean = x - self.guidance.guided_noise(x, sigma, self.negative, self.positive, self.scale) * sigma
        return clean if self.inpaint is None else self.inpaint.after(clean)
