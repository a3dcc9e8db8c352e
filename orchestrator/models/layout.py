"""Where everything about a model file lies below the models folder. Names only; touches no file.

`checkpoints/` and `loras/` are what backends read: a model and, for one that the service fetched, `<stem>.json` beside
it. `.shelf/` holds what backends must not see: parts of downloads, locks, marks. A lock's time of change is when its
model was last used.
"""

from dataclasses import dataclass
from pathlib import Path

from orchestrator.models.reference import Kind

SUFFIX = ".safetensors"
_FOLDERS: dict[Kind, str] = {"checkpoint": "checkpoints", "lora": "loras"}
KINDS: tuple[Kind, ...] = ("checkpoint", "lora")


@dataclass(frozen=True)
class Place:
    """One model's place on the shelf; `stem` is its file's name below the kind's folder, without the ending."""

    root: Path
    kind: Kind
    stem: str

    @property
    def file(self) -> Path:
        return self.root / _FOLDERS[self.kind] / (self.stem + SUFFIX)

    @property
    def backend_name(self) -> str:
        """What a backend calls the file."""
        return self.stem + SUFFIX

    @property
    def origin(self) -> Path:
        return self.root / _FOLDERS[self.kind] / (self.stem + ".json")

    @property
    def part(self) -> Path:
        return self._hidden("part")

    @property
    def part_note(self) -> Path:
        return self._hidden("part.json")

    @property
    def part_lock(self) -> Path:
        """Held exclusively by the one that downloads."""
        return self._hidden("part.lock")

    @property
    def pin_lock(self) -> Path:
        """Held shared by every job that uses the file, exclusively by the one that deletes it."""
        return self._hidden("lock")

    @property
    def kept(self) -> Path:
        """Exists if the operator wants the file to stay."""
        return self._hidden("kept")

    @property
    def damaged(self) -> Path:
        return self._hidden("damaged")

    def _hidden(self, ending: str) -> Path:
        return hidden(self.root) / f"{self.kind}-{self.stem.replace('/', '%2F')}.{ending}"


def folder_of(root: Path, kind: Kind) -> Path:
    """The folder that backends read models of that kind from."""
    return root / _FOLDERS[kind]


def hidden(root: Path) -> Path:
    """The folder that backends do not read."""
    return root / ".shelf"


def stem_of(version_id: int, file_id: int) -> str:
    """Our own name for a file from Civitai: never the server's, which may say anything."""
    return f"{version_id}-{file_id}"
