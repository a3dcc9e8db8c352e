"""Nodes that load models: a checkpoint, a LoRA over it."""

import logging

from orchestrator.embedded.catalogue import InputSpec, NodeClass, Result
from orchestrator.embedded.checkpoint import Checkpoint, Clip, Model, Shelf, VaeHandle
from orchestrator.embedded.folders import Folders
from orchestrator.embedded.lora import Lora, Use
from orchestrator.embedded.monitor import Monitor
from orchestrator.embedded.unsupported import UnsupportedModel

_log = logging.getLogger(__name__)

_STRENGTH = {"default": 1.0, "min": -100.0, "max": 100.0, "step": 0.01}


def _checkpoint(folders: Folders, shelf: Shelf, monitor: Monitor) -> NodeClass:
    def load(ckpt_name: str) -> Result:
        file = folders.model("checkpoints", ckpt_name)
        shelf.checkpoint(file)  # a file that cannot be loaded fails here, not at its first use
        return Result((Model(shelf, file, monitor), Clip(shelf, file), VaeHandle(shelf, file)))

    return NodeClass(
        name="CheckpointLoaderSimple",
        title="Load Checkpoint",
        category="loaders",
        inputs=lambda: (InputSpec("ckpt_name", list(folders.model_names("checkpoints"))),),
        outputs=("MODEL", "CLIP", "VAE"),
        make=lambda: load,
        changed=lambda ckpt_name: folders.model("checkpoints", ckpt_name).stat().st_mtime_ns,
    )


def _check_fit(lora: Lora, checkpoint: Checkpoint) -> None:
    """Refuses a LoRA that changes nothing here; one of which a part is unknown is used and logged, as in ComfyUI."""
    known = checkpoint.unet.knows(lora.changes) + checkpoint.text.knows(lora.changes)
    if not known:
        raise UnsupportedModel(f"{lora.file.name} does not fit this checkpoint: it changes no layer that is there.")
    if known < len(lora.changes):
        _log.warning(
            "%s: %d of %d changes have no layer here", lora.file.name, len(lora.changes) - known, len(lora.changes)
        )


def _lora(folders: Folders, shelf: Shelf) -> NodeClass:
    def load(model: Model, clip: Clip, lora_name: str, strength_model: float, strength_clip: float) -> Result:
        lora = shelf.lora(folders.model("loras", lora_name))
        _check_fit(lora, shelf.checkpoint(model.file))
        return Result((model.with_lora(Use(lora, strength_model)), clip.with_lora(Use(lora, strength_clip))))

    return NodeClass(
        name="LoraLoader",
        title="Load LoRA",
        category="loaders",
        inputs=lambda: (
            InputSpec("model", "MODEL"),
            InputSpec("clip", "CLIP"),
            InputSpec("lora_name", list(folders.model_names("loras"))),
            InputSpec("strength_model", "FLOAT", _STRENGTH),
            InputSpec("strength_clip", "FLOAT", _STRENGTH),
        ),
        outputs=("MODEL", "CLIP"),
        make=lambda: load,
        changed=lambda lora_name, **_: folders.model("loras", lora_name).stat().st_mtime_ns,
    )


def _lora_without_text(folders: Folders, shelf: Shelf) -> NodeClass:
    def load(model: Model, lora_name: str, strength_model: float) -> Result:
        lora = shelf.lora(folders.model("loras", lora_name))
        _check_fit(lora, shelf.checkpoint(model.file))
        return Result((model.with_lora(Use(lora, strength_model)),))

    return NodeClass(
        name="LoraLoaderModelOnly",
        title="LoraLoaderModelOnly",
        category="loaders",
        inputs=lambda: (
            InputSpec("model", "MODEL"),
            InputSpec("lora_name", list(folders.model_names("loras"))),
            InputSpec("strength_model", "FLOAT", _STRENGTH),
        ),
        outputs=("MODEL",),
        make=lambda: load,
        changed=lambda lora_name, **_: folders.model("loras", lora_name).stat().st_mtime_ns,
    )


def classes(folders: Folders, shelf: Shelf, monitor: Monitor) -> tuple[NodeClass, ...]:
    """The loaders. `monitor` is what runs of the loaded models answer to."""
    return _checkpoint(folders, shelf, monitor), _lora(folders, shelf), _lora_without_text(folders, shelf)
