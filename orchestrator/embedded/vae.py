"""From pictures to latents and back: the first stage of a checkpoint, an autoencoder with KL loss or a TAESD.

Pictures are [batch, height, width, 3] in 0..1, latents [batch, 4, height / 8, width / 8] unscaled, as in ComfyUI.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from orchestrator.embedded.narrowing import narrow
from orchestrator.embedded.unsupported import UnsupportedModel

TILE = 8
LATENT_SCALE = 0.18215
"""The UNet's latents are the autoencoder's times this."""


class Vae:
    """One of diffusers' two autoencoders behind ComfyUI's meaning of encode and decode."""

    def __init__(self, model: Any, *, tiny: bool, scale: float = 1.0, shift: float = 0.0) -> None:
        self._model = model
        self._tiny = tiny
        self._scale, self._shift = scale, shift

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures, cropped around the middle to multiples of eight, to latents: the posterior's mode, not a sample."""
        for axis in (1, 2):
            size = pictures.shape[axis]
            pictures = pictures.narrow(axis, size % TILE // 2, size // TILE * TILE)
        signed = pictures[..., :3].movedim(-1, 1) * 2 - 1
        if self._tiny:
            return self._model.encoder(signed) / self._scale + self._shift
        return self._model.encode(signed).latent_dist.mode()

    def decode(self, latents: Tensor) -> Tensor:
        """Latents to pictures, clamped to 0..1."""
        if self._tiny:
            signed = self._model.decoder((latents - self._shift) * self._scale)
        else:
            signed = self._model.decode(latents).sample
        return ((signed + 1) / 2).clamp(0, 1).movedim(1, -1)


def _load(model: Any, state: Mapping[str, Tensor]) -> Any:
    try:
        model.load_state_dict(dict(state), assign=True)
    except RuntimeError as error:
        raise UnsupportedModel(f"The first stage's tensors are not those of its kind: {error}") from error
    return narrow(model.eval().requires_grad_(False))


def _tiny(state: Mapping[str, Tensor]) -> Vae:
    from diffusers import AutoencoderTiny

    renamed = {}
    for name, tensor in state.items():
        side, _, rest = name.partition(".")
        place, _, tail = rest.partition(".")
        if side == "taesd_encoder":
            renamed[f"encoder.layers.{place}.{tail}"] = tensor.float()
        elif side == "taesd_decoder":  # the clamp is a layer there and a function here
            renamed[f"decoder.layers.{int(place) - 1}.{tail}"] = tensor.float()
    with torch.device("meta"):
        model = AutoencoderTiny()
    scale, shift = (float(state.get(name, torch.tensor(default))) for name, default in _TINY_NUMBERS)
    return Vae(_load(model, renamed), tiny=True, scale=scale, shift=shift)


_TINY_NUMBERS = (("vae_scale", 1.0), ("vae_shift", 0.0))


def _variational(state: Mapping[str, Tensor]) -> Vae:
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    with torch.device("meta"):
        model = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        )
    prefixed = {f"first_stage_model.{name}": tensor.float() for name, tensor in state.items()}
    return Vae(_load(model, convert_ldm_vae_checkpoint(prefixed, model.config)), tiny=False)


def build(state: Mapping[str, Tensor]) -> Vae:
    """The autoencoder whose tensors these are (names as below `first_stage_model.`); UnsupportedModel for another."""
    if "taesd_decoder.1.weight" in state:
        return _tiny(state)
    if "decoder.conv_in.weight" in state:
        return _variational(state)
    raise UnsupportedModel("The file holds no autoencoder, so it is not a whole Stable Diffusion 1.5 checkpoint.")
