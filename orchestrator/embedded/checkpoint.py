"""Single-file checkpoints in memory: read, taken apart, kept, and handed to nodes as MODEL, CLIP and VAE.

Handles are light: what is heavy stays in the shelf, which keeps the checkpoints used last and loads others again.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from orchestrator.embedded import lora, text_encoder, unet, vae
from orchestrator.embedded.hosting import Host
from orchestrator.embedded.monitor import Monitor
from orchestrator.embedded.previewing import Mixture, fitted
from orchestrator.embedded.schedule import NoiseLevels
from orchestrator.embedded.text import Token, chunks
from orchestrator.embedded.tokenizer import clip_tokenizer
from orchestrator.embedded.unsupported import UnsupportedModel
from orchestrator.embedded.vae import LATENT_SCALE

_log = logging.getLogger(__name__)

_UNET, _VAE = "model.diffusion_model.", "first_stage_model."
_TEXT = ("cond_stage_model.transformer.text_model.", "cond_stage_model.transformer.")

Tokens: TypeAlias = Mapping[str, Sequence[Sequence[tuple[int, float]]]]
"""Encoder to chunks of token ids and weights, as ComfyUI's CLIP gives and takes them."""


@dataclass(frozen=True)
class Checkpoint:
    """What one file holds, ready to compute."""

    unet: lora.Patched
    text: lora.Patched
    vae: vae.Vae

    @cached_property
    def mixture(self) -> Mixture:
        """Fitted when it is first asked for."""
        return fitted(self.vae.encode)


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)}


def read(file: Path) -> Checkpoint:
    """Loads a Stable Diffusion 1.5 checkpoint; UnsupportedModel says in a sentence why another file is not one."""
    try:
        state = load_file(file)
    except SafetensorError as error:
        raise UnsupportedModel(f"{file.name} is not a whole .safetensors file.") from error
    if any(name.startswith("conditioner.embedders.") for name in state):
        raise UnsupportedModel(
            f"{file.name} is an SDXL checkpoint; the embedded backend runs Stable Diffusion 1.5 only."
        )
    prefix = next((prefix for prefix in _TEXT if prefix + "final_layer_norm.weight" in state), _TEXT[0])
    net_state = _below(state, _UNET)
    net, encoder = unet.build(net_state), text_encoder.build(_below(state, prefix))
    ldm_names = unet.names(unet.shape_of(net_state))
    return Checkpoint(
        unet=lora.Patched(net, lora.kohya_names(net, lora.UNET, ldm_names)),
        text=lora.Patched(encoder, lora.kohya_names(encoder, f"{lora.TEXT}text_model_"), text_encoder.stored),
        vae=vae.build(_below(state, _VAE)),
    )


class Shelf:
    """Keeps the newest checkpoints and LoRAs that were asked for; the rest is loaded again when needed."""

    def __init__(self, checkpoints: int = 2, loras: int = 8) -> None:
        self._limits = checkpoints, loras
        self._checkpoints: OrderedDict[tuple[Path, int], Checkpoint] = OrderedDict()
        self._loras: OrderedDict[tuple[Path, int], lora.Lora] = OrderedDict()
        self._lock = threading.Lock()
        self.levels = NoiseLevels()
        self._tokenizer = clip_tokenizer()

    def checkpoint(self, file: Path) -> Checkpoint:
        """The checkpoint in a file, loaded when it is not here or the file has changed."""
        key = file, file.stat().st_mtime_ns
        with self._lock:
            if key not in self._checkpoints:
                while len(self._checkpoints) >= self._limits[0]:
                    self._checkpoints.popitem(last=False)
                _log.info("Loading %s", file.name)
                self._checkpoints[key] = read(file)
            self._checkpoints.move_to_end(key)
            return self._checkpoints[key]

    def lora(self, file: Path) -> lora.Lora:
        """The LoRA in a file, loaded when it is not here or the file has changed."""
        key = file, file.stat().st_mtime_ns
        with self._lock:
            if key not in self._loras:
                while len(self._loras) >= self._limits[1]:
                    self._loras.popitem(last=False)
                self._loras[key] = lora.read(file)
            self._loras.move_to_end(key)
            return self._loras[key]

    def tokenize(self, text: str) -> list[int]:
        """Token ids without start and end."""
        return list(self._tokenizer(text)["input_ids"][1:-1])

    def clear(self) -> None:
        """Forgets everything that is loaded."""
        with self._lock:
            self._checkpoints.clear()
            self._loras.clear()


class LatentFormat:
    """How the UNet's latents and the autoencoder's differ."""

    def process_in(self, latent: Tensor) -> Tensor:
        """From the autoencoder's scale to the UNet's."""
        return latent * LATENT_SCALE

    def process_out(self, latent: Tensor) -> Tensor:
        """From the UNet's scale to the autoencoder's."""
        return latent / LATENT_SCALE


@dataclass(frozen=True)
class Model:
    """What nodes pass on as MODEL: a file on the shelf and the LoRAs that its UNet is to carry."""

    shelf: Shelf
    file: Path
    monitor: Monitor
    loras: tuple[lora.Use, ...] = ()

    def with_lora(self, use: lora.Use) -> "Model":
        return replace(self, loras=(*self.loras, use))

    def unet(self) -> Any:
        """diffusers' module with these LoRAs merged in; it stays so until another chain is asked for."""
        return self.shelf.checkpoint(self.file).unet.with_loras(self.loras)

    def mixture(self) -> Mixture:
        """How its latents look, cheaply."""
        return self.shelf.checkpoint(self.file).mixture

    def get_model_object(self, name: str) -> Any:
        """What packs ask of ComfyUI's model: `latent_format` (with process_in and process_out) or `model_sampling`."""
        if name == "latent_format":
            return LatentFormat()
        if name == "model_sampling":
            return self.shelf.levels
        raise KeyError(name)

    def sampling_host(self) -> Host:
        """What the pack `a1111_inpaint` asks for in place of ComfyUI's own samplers."""
        return Host(self, self.monitor)


@dataclass(frozen=True)
class Clip:
    """What nodes pass on as CLIP: a file, its text encoder's LoRAs, and the layer to stop at (-1 the last)."""

    shelf: Shelf
    file: Path
    loras: tuple[lora.Use, ...] = ()
    stop: int = -1

    def with_lora(self, use: lora.Use) -> "Clip":
        return replace(self, loras=(*self.loras, use))

    def encode(self, prompt: str) -> Tensor:
        """A prompt in ComfyUI's syntax to [1, 77 * n, 768]."""
        return self.encode_from_tokens(self.tokenize(prompt))[0]

    def tokenize(self, text: str) -> Tokens:
        """What packs ask of ComfyUI's CLIP: text in its syntax to chunks of 77 tokens for each encoder, here "l"."""
        return {"l": [[(token.id, token.weight) for token in chunk] for chunk in chunks(text, self.shelf.tokenize)]}

    def encode_from_tokens(self, tokens: Tokens, return_pooled: bool = True) -> tuple[Tensor, None]:
        """The same: such chunks to [1, 77 * n, 768]. Stable Diffusion 1.5 reads no pooled state, so it is None."""
        encoder = self.shelf.checkpoint(self.file).text.with_loras(self.loras)
        given = [tuple(Token(*token) for token in chunk) for chunk in tokens["l"]]
        return text_encoder.encode(encoder, given, self.stop), None


@dataclass(frozen=True)
class VaeHandle:
    """What nodes pass on as VAE."""

    shelf: Shelf
    file: Path

    def encode(self, pictures: Tensor) -> Tensor:
        return self.shelf.checkpoint(self.file).vae.encode(pictures)

    def decode(self, latents: Tensor) -> Tensor:
        return self.shelf.checkpoint(self.file).vae.decode(latents)
