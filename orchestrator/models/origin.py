"""Where a file on the shelf came from, as the JSON beside it says. Written whole or not at all.

Knows nothing of downloads.
"""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Origin:
    """A file that the service fetched; with this beside it, a file's size tells whether it is whole."""

    version_id: int
    file_id: int
    model_id: int | None
    title: str
    base_model: str
    family: str
    prediction: str
    """What a checkpoint's UNet predicts: `eps`, `v`, `edm`, `edm-v`; "" for a LoRA."""
    chosen: bool
    """True if it is the file that the version's id alone means, False if a request named this file of it."""
    trained_words: tuple[str, ...]
    size: int
    """Bytes."""
    sha256: str
    """Of the bytes that were written."""
    verified_by: str
    """What it was held against: `SHA256` or `AutoV3` (the tensors alone) of Civitai, or `structure` if it gave none."""
    source: str
    """The API that it was asked of."""
    fetched_at: float
    """Seconds since 1970."""


def write_origin(path: Path, origin: Origin) -> None:
    """Puts it there at once; a reader sees the old one or the new one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("w") as file:
        json.dump(asdict(origin), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def read_origin(path: Path) -> Origin | None:
    """None if there is none or it is not one of ours."""
    try:
        content = json.loads(path.read_bytes())
        said = {field.name: content[field.name] for field in fields(Origin)}
        origin = Origin(**{**said, "trained_words": tuple(said["trained_words"])})
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    numbers = (origin.version_id, origin.file_id, origin.size)
    return origin if all(type(number) is int for number in numbers) else None
