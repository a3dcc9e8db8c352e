"""The models on this machine's disk: a name from a request to a checked file that backends know.

A model's name is its file's without the ending: `64094` is `checkpoints/64094.safetensors`. Backends read the same
folder. Knows nothing of Civitai or of widgets.
"""

import asyncio
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from orchestrator.errors import FieldError, ModelMismatch, ModelNotFound
from orchestrator.models import family, header

_SUFFIX = ".safetensors"
_CHECKPOINTS, _LORAS = "checkpoints", "loras"


@dataclass(frozen=True)
class ModelFile:
    """A model as a backend knows it: its file's name, and the family read from it."""

    name: str
    file: str
    family: str
    channels: int = 4
    """How many channels a checkpoint's UNet reads: 4, or 9 if it is an inpainting one."""


@lru_cache(maxsize=1024)
def _header(path: Path, _changed_ns: int, _size: int) -> header.Header:
    with path.open("rb") as file:
        length = header.header_length(file.read(header.LENGTH_BYTES))
        return header.parse_header(file.read(length))


class Shelf:
    """Finds models by name in one folder with `checkpoints` and `loras` below it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def checkpoint(self, name: str, field: str, families: Sequence[str]) -> ModelFile:
        """The checkpoint of that name, if it is of one of `families`.

        Raises ModelNotFound and ModelMismatch, both naming `field`.
        """
        return await asyncio.to_thread(self._checkpoint, name, field, families)

    async def lora(self, name: str, field: str, checkpoint: ModelFile) -> ModelFile:
        """The LoRA of that name, if it fits the checkpoint.

        ComfyUI merges what it can of an unfit one and reports success, so it is refused here.
        Raises ModelNotFound and ModelMismatch, both naming `field`.
        """
        return await asyncio.to_thread(self._lora, name, field, checkpoint)

    def _checkpoint(self, name: str, field: str, families: Sequence[str]) -> ModelFile:
        path = self._find(_CHECKPOINTS, "checkpoint", name, field)
        head = _read(path, field)
        kind = family.checkpoint_kind(head)
        if kind is None:
            raise _mismatch(field, f"{name} is not a Stable Diffusion checkpoint in one file")
        if problem := family.trouble(kind):
            raise _mismatch(field, f"{name} cannot be used: {problem}")
        if lacking := family.missing_parts(head):
            raise _mismatch(field, f"{name} cannot be used: the file holds no {' and no '.join(lacking)}")
        if kind.family not in families:
            raise _mismatch(field, f"{name} is {kind.family}; this widget runs {', '.join(families)}")
        return ModelFile(name, path.name, kind.family, kind.channels)

    def _lora(self, name: str, field: str, checkpoint: ModelFile) -> ModelFile:
        path = self._find(_LORAS, "LoRA", name, field)
        head = _read(path, field)
        if not family.is_lora(head):
            raise _mismatch(field, f"{name} is not a LoRA")
        made_for = family.lora_family(head) or checkpoint.family
        if made_for != checkpoint.family:
            text = f"the LoRA {name} is made for {made_for}, the checkpoint {checkpoint.name} is {checkpoint.family}"
            raise _mismatch(field, text)
        return ModelFile(name, path.name, made_for)

    def _find(self, kind: str, word: str, name: str, field: str) -> Path:
        names = sorted(path.stem for path in (self._folder / kind).glob("*" + _SUFFIX))
        if name in names:
            return self._folder / kind / (name + _SUFFIX)
        near = difflib.get_close_matches(name, names, 3, 0.4) or names[:3]
        hint = f"; there are: {', '.join(near)}" if near else ""
        message = f"there is no {word} {name[:100]!r} here{hint}"
        raise ModelNotFound(message, [FieldError(field, message)])


def _read(path: Path, field: str) -> header.Header:
    try:
        about = path.stat()
        return _header(path, about.st_mtime_ns, about.st_size)
    except (header.NotSafetensors, OSError) as error:
        raise _mismatch(field, f"{path.stem} cannot be read as safetensors: {error}") from error


def _mismatch(field: str, message: str) -> ModelMismatch:
    return ModelMismatch(message, [FieldError(field, message)])
