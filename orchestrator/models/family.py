"""What family a checkpoint belongs to, told from its header alone. Pure.

The markers are ComfyUI's own: the width of the text that the cross-attention reads, and the channels of the first
convolution. What an author wrote into the metadata is not trusted.
"""

from dataclasses import dataclass

from orchestrator.models.header import Header

SD15, SDXL = "sd15", "sdxl"
_UNET = "model.diffusion_model."
FAMILY_OF_CONTEXT = {768: SD15, 1024: "sd2", 1280: "sdxl-refiner", 2048: SDXL}
"""Width of the text that the cross-attention reads → family."""
_CHANNELS = (4, 9)
"""Of an ordinary checkpoint, and of an inpainting one."""


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
            return CheckpointKind(FAMILY_OF_CONTEXT.get(shape[1], f"context-{shape[1]}"), entry[1])
    return None


def missing_parts(header: Header) -> tuple[str, ...]:
    """What an all-in-one checkpoint needs and this one lacks: "VAE", "text encoder"."""
    parts = {
        "VAE": ("first_stage_model.",),
        "text encoder": ("cond_stage_model.", "conditioner.embedders."),
    }
    return tuple(part for part, starts in parts.items() if not any(name.startswith(starts) for name in header.shapes))


def trouble(kind: CheckpointKind) -> str | None:
    """Why a checkpoint of this kind cannot run here, or None."""
    if kind.family not in (SD15, SDXL):
        return f"it is of the family {kind.family}; this service runs sd15 and sdxl"
    if kind.channels not in _CHANNELS:
        return f"its UNet reads {kind.channels} channels; this service runs checkpoints with 4, or 9 for inpainting"
    return None


def prediction(header: Header) -> str:
    """What the UNet predicts, by the marks that ComfyUI goes by: `eps`, `v`, or `edm` (Playground v2.5), `edm-v`."""
    marks = header.shapes
    if "edm_mean" in marks and "edm_std" in marks:
        return "edm"
    if "edm_vpred.sigma_max" in marks:
        return "edm-v"
    return "v" if "v_pred" in marks else "eps"
