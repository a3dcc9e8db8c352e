"""All that is wanted of a file's header: what kind of model it is. Pure.

A header has up to some megabytes, this has a few words; so this is what is remembered.
"""

from dataclasses import dataclass

from orchestrator.models.family import CheckpointKind, checkpoint_kind, missing_parts, prediction
from orchestrator.models.header import Header
from orchestrator.models.lora import is_lora, lora_family


@dataclass(frozen=True)
class Nature:
    """What a file's tensors make it."""

    checkpoint: CheckpointKind | None
    """None if it is no checkpoint in one file."""
    lacking: tuple[str, ...]
    """Parts that a checkpoint needs and it has not."""
    prediction: str
    """What a checkpoint's UNet predicts."""
    is_lora: bool
    lora_family: str | None
    """The family that a LoRA was made for, by its tensors and metadata; None if they do not tell."""


def nature_of(header: Header) -> Nature:
    """What the file with that header is."""
    lora = is_lora(header)
    return Nature(
        checkpoint=checkpoint_kind(header),
        lacking=missing_parts(header),
        prediction=prediction(header),
        is_lora=lora,
        lora_family=lora_family(header) if lora else None,
    )
