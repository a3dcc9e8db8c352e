"""The operator's own names for models: `models.yaml` in the data folder.

checkpoints:
  house-style: 64094                    # a Civitai version id or an AIR
  64094: neverending.safetensors        # a file in models/checkpoints, used in place of Civitai's
loras:
  pixel: pixel-art-v3.safetensors
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from orchestrator.errors import SettingsError
from orchestrator.models.layout import SUFFIX, Place
from orchestrator.models.reference import BadReference, CivitaiVersion, Kind, LocalName, Reference, read_reference

_SECTIONS: dict[str, Kind] = {"checkpoints": "checkpoint", "loras": "lora"}


@dataclass(frozen=True)
class Names:
    """Name → what it stands for, for each kind."""

    known: Mapping[tuple[Kind, str], Reference] = field(default_factory=dict)

    def means(self, kind: Kind, name: str) -> Reference | None:
        """What the operator has set for that name, or None."""
        return self.known.get((kind, name))

    def missing(self, root: Path) -> list[str]:
        """The files below the models folder `root` that names stand for and that are not there, as sentences."""
        return [
            f"{name} stands for {place.file}, and there is no such file"
            for (kind, name), target in self.known.items()
            if isinstance(target, LocalName) and not (place := Place(root, kind, target.name)).file.is_file()
        ]


def load_names(file: Path) -> Names:
    """The names in a file; none if there is no file. Raises SettingsError naming what is wrong in it."""
    try:
        content = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        return Names()
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise SettingsError(f"{file} cannot be read: {error}") from error
    known: dict[tuple[Kind, str], Reference] = {}
    for section, entries in _entries(file, content).items():
        if section not in _SECTIONS:
            raise SettingsError(f"{file}: {section!r} is neither checkpoints nor loras")
        kind = _SECTIONS[section]
        for name, target in _entries(file, entries).items():
            known[kind, name] = _reference(file, kind, name, target)
    return Names(known)


def _entries(file: Path, content: object) -> dict[str, object]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{file}: {content!r} is not a list of names with what they stand for")
    return {str(name): value for name, value in content.items()}


def _reference(file: Path, kind: Kind, name: str, target: object) -> Reference:
    if not isinstance(target, str | int) or isinstance(target, bool):
        raise SettingsError(f"{file}: {name} must stand for a file's name, a version id or an AIR, not {target!r}")
    try:
        read = read_reference(str(target), kind)
    except BadReference as error:
        raise SettingsError(f"{file}: {name}: {error}") from error
    if isinstance(read, CivitaiVersion):
        return read
    stem = read.name.removesuffix(SUFFIX)
    if not stem or stem.startswith("/") or ".." in stem.split("/") or "\\" in stem:
        raise SettingsError(f"{file}: {name}: {target!r} must be a file below models/{kind}s, where backends read it")
    return LocalName(stem)
