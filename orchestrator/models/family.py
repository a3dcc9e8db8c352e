"""What family a model file belongs to, told from its header alone. Pure.

The markers are ComfyUI's own: the width of the text that the cross-attention reads, and the channels of the first
convolution. What an author wrote into the metadata is not trusted.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.models.header import Header

SD15, SDXL = "sd15", "sdxl"
_UNET = "model.diffusion_model."
_FAMILY_OF_CONTEXT = {768: SD15, 1024: "sd2", 1280: "sdxl-refiner", 2048: SDXL}
_CHANNELS = (4, 9)
"""Of an ordinary checkpoint, and of an inpainting one."""
_LORA_CONTEXT = re.compile(r"attn2[._]to_[kv]\.(lora_down|lora_A|lora\.down|hada_w1_b)(\.default)?(\.weight)?$")
_LORA_LAYERS = re.compile(r"(lora_|unet|transformer|lycoris_)")


@dataclass(frozen=True)
class CheckpointKind:
    """A checkpoint's family, and how many channels its UNet reads (4, or 9 for an inpainting one)."""

    family: str
    channels: int


def checkpoint_kind(header: Header) -> CheckpointKind | None:
    """The kind of a single-file checkpoint in LDM layout; None if it is not one."""
    entry = header.shapes.get(_UNET + "input_blocks.0.0.weight")
    if entry is None or len(entry) != 4:
        return None
    for name, shape in header.shapes.items():
        if name.startswith(_UNET) and name.endswith("attn2.to_k.weight") and len(shape) == 2:
            return CheckpointKind(_FAMILY_OF_CONTEXT.get(shape[1], f"context-{shape[1]}"), entry[1])
    return None


def missing_parts(header: Header) -> tuple[str, ...]:
    """What an all-in-one checkpoint needs and this one lacks: "VAE", "text encoder"."""
    parts = {
        "VAE": ("first_stage_model.",),
        "text encoder": ("cond_stage_model.", "conditioner.embedders."),
    }
    return tuple(part for part, starts in parts.items() if not any(name.startswith(starts) for name in header.shapes))


def lora_family(header: Header) -> str | None:
    """The family that a LoRA was made for; None if its tensors do not tell."""
    shapes = header.shapes
    for name, shape in shapes.items():
        if _LORA_CONTEXT.search(name) and len(shape) >= 2:
            return _FAMILY_OF_CONTEXT.get(shape[1], f"context-{shape[1]}")
    if any(name.startswith(("lora_te2_", "text_encoder_2.")) for name in shapes):
        return SDXL
    return _family_of_text_encoder(shapes)


def _family_of_text_encoder(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    for name, shape in shapes.items():
        if name.startswith("lora_te_") and "self_attn" in name and "lora_down" in name and len(shape) == 2:
            return _FAMILY_OF_CONTEXT.get(shape[1])
    return None


def is_lora(header: Header) -> bool:
    """Whether the tensors are named as a LoRA's are."""
    return any(_LORA_LAYERS.match(name) for name in header.shapes) and checkpoint_kind(header) is None


def trouble(kind: CheckpointKind) -> str | None:
    """Why a checkpoint of this kind cannot run here, or None."""
    if kind.family not in (SD15, SDXL):
        return f"it is of the family {kind.family}; this service runs sd15 and sdxl"
    if kind.channels not in _CHANNELS:
        return f"its UNet reads {kind.channels} channels; this service runs checkpoints with 4, or 9 for inpainting"
    return None
