"""Expands the shipped weights into ordinary files: an SD1.5 checkpoint and two LoRAs that any ComfyUI loads."""

import os
from importlib import resources
from pathlib import Path

from safetensors.torch import load, save_file
from torch import Tensor

from orchestrator.demo_model import text_encoder, unet, vae
from orchestrator.demo_model.lora import word_swap

CHECKPOINT = "demo.safetensors"
WORD_SWAPS = {"demo-red-is-blue.safetensors": (736, 1746), "demo-circle-is-ring.safetensors": (7117, 2540)}
"""LoRA file to the CLIP tokens of the word that changes and the word that it becomes."""


def _save(state: dict[str, Tensor], file: Path, title: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".part{os.getpid()}")
    metadata = {"format": "pt", "modelspec.title": title, "modelspec.architecture": "stable-diffusion-v1"}
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, part, metadata)
    part.chmod(0o644)
    part.replace(file)


def build(folder: Path) -> None:
    """Writes what is missing of `checkpoints/demo.safetensors` (about 300 MB) and `loras/demo-*.safetensors`.

    Each file appears whole or not at all, so that several processes may do it at once.
    """
    checkpoint = folder / "checkpoints" / CHECKPOINT
    loras = {folder / "loras" / name: words for name, words in WORD_SWAPS.items()}
    if all(file.exists() for file in (checkpoint, *loras)):
        return
    narrow = load(resources.files(__package__).joinpath("weights.safetensors").read_bytes())
    net, encoder = unet.expand(narrow), text_encoder.build()
    state = {f"model.diffusion_model.{name}": tensor for name, tensor in net.items()}
    state |= {f"first_stage_model.{name}": tensor for name, tensor in vae.build().items()}
    state |= {name: tensor.half() for name, tensor in encoder.items()}
    _save(state, checkpoint, "Demo model")
    for file, (word, other) in loras.items():
        _save(word_swap(net, encoder, word, other), file, file.stem)
