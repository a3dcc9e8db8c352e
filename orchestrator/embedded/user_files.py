"""What the editor keeps for its user: saved workflows, settings, a style sheet. Bounded in size, confined to a folder.

Knows files and names, no HTTP. Names come from outside and are relative to the folder, with `/` between their parts.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from orchestrator.embedded.folders import OutsideFolder, within

FILE_LIMIT = 32 * 1024 * 1024
"""Bytes of one file."""
_ALL_LIMIT = 512 * 1024 * 1024
"""Bytes of all files together."""
_COUNT_LIMIT = 10_000
_NAME_LIMIT = 200
"""Bytes of one part of a name, so that the file beside it while it is written has room for its own."""
_SETTINGS = "comfy.settings.json"
_AT_FIRST = {
    "Comfy.Notification.ShowVersionUpdates": False,  # news of ComfyUI's versions are not about this program
    # The editor sets these two by itself on a first visit, but before it knows them, which is an error in its console.
    "Comfy.Canvas.LeftMouseClickBehavior": "panning",
    "Comfy.Canvas.MouseWheelScroll": "zoom",
}
"""Settings as they are until the user says otherwise."""
_SETTINGS_LIMIT = 1024 * 1024


class NoRoom(Exception):
    """What is to be written is too large, or too much is there already; the text says which."""


@dataclass(frozen=True)
class UserFile:
    """One file or folder: its name below the folder that was asked about, bytes, and times in seconds since 1970."""

    name: str
    size: int
    modified: float
    created: float
    is_folder: bool = False

    def described(self) -> dict[str, Any]:
        """As the editor reads it."""
        return {"path": self.name, "size": self.size, "modified": self.modified, "created": self.created}


class UserFiles:
    """The files below `root`. Every method raises OutsideFolder for a name that leads elsewhere."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, name: str) -> Path:
        """Where the file is or would be; never the folder itself."""
        try:
            path = within(self._root, name)
        except (ValueError, OSError) as fault:  # a name that no file system takes
            raise OutsideFolder(f"{name!r} cannot be a file's name") from fault
        if path == self._root.resolve():
            raise OutsideFolder("a file needs a name")
        if any(len(part.encode()) > _NAME_LIMIT for part in path.relative_to(self._root.resolve()).parts):
            raise OutsideFolder(f"a name is longer than {_NAME_LIMIT} bytes")
        return path

    def describe(self, name: str) -> UserFile:
        """The file as it is now; FileNotFoundError when there is none."""
        return _described(self.path(name), self._root.resolve())

    def listed(self, folder: str, *, recursive: bool) -> list[UserFile]:
        """The files in a folder, names relative to it, sorted; FileNotFoundError when there is no such folder."""
        place = self.path(folder)
        return [entry for entry in _entries(place, place, recursive) if not entry.is_folder]

    def entries(self, folder: str) -> list[UserFile]:
        """Files and folders at every depth below `folder` ("" for all), names relative to the root, folders first.

        FileNotFoundError when there is no such folder.
        """
        place = self.path(folder) if folder.strip("/") else self._root.resolve()
        found = _entries(place, self._root.resolve(), True)
        return sorted(found, key=lambda entry: (not entry.is_folder, entry.name.rsplit("/", 1)[-1].lower()))

    def write(self, name: str, data: bytes, *, overwrite: bool = True) -> UserFile:
        """Stores a file whole. FileExistsError without `overwrite`; NoRoom; OSError for a name that cannot be."""
        path = self.path(name)
        if path.exists() and (path.is_dir() or not overwrite):
            raise FileExistsError(f"{name} is there already.")
        self._make_room(path, len(data))
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{uuid4().hex}.part")
        try:
            part.write_bytes(data)
            part.replace(path)  # a reader sees the old file or the new one
        finally:
            part.unlink(missing_ok=True)
        return self.describe(name)

    def move(self, name: str, target: str, *, overwrite: bool = True) -> UserFile:
        """Gives a file another name. FileNotFoundError, FileExistsError as above."""
        source, path = self.path(name), self.path(target)
        if not source.is_file():
            raise FileNotFoundError(f"There is no file {name}.")
        if path.exists() and (path.is_dir() or not overwrite):
            raise FileExistsError(f"{target} is there already.")
        path.parent.mkdir(parents=True, exist_ok=True)
        source.replace(path)
        return self.describe(target)

    def delete(self, name: str) -> None:
        """FileNotFoundError when there is no such file."""
        path = self.path(name)
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {name}.")
        path.unlink()

    def settings(self) -> dict[str, Any]:
        """The editor's settings by name; those of a new user where none are kept, or cannot be read."""
        try:
            said = json.loads((self._root / _SETTINGS).read_bytes())
        except (OSError, ValueError, RecursionError):
            said = None
        return {**_AT_FIRST, **said} if isinstance(said, dict) else dict(_AT_FIRST)

    def change_settings(self, changes: Mapping[str, Any]) -> None:
        """Sets some of them. NoRoom past a megabyte."""
        data = json.dumps({**self.settings(), **changes}, indent=4).encode()
        if len(data) > _SETTINGS_LIMIT:
            raise NoRoom(f"The settings are larger than {_SETTINGS_LIMIT} bytes.")
        self.write(_SETTINGS, data)

    def _make_room(self, path: Path, size: int) -> None:
        if size > FILE_LIMIT:
            raise NoRoom(f"The file is larger than {FILE_LIMIT} bytes.")
        others = [file for file in self._root.rglob("*") if file.is_file() and file != path]
        if len(others) >= _COUNT_LIMIT:
            raise NoRoom(f"There are {_COUNT_LIMIT} files already.")
        if size + sum(file.stat().st_size for file in others) > _ALL_LIMIT:
            raise NoRoom(f"All files together would be larger than {_ALL_LIMIT} bytes.")


def _described(path: Path, root: Path) -> UserFile:
    stat = path.stat()
    name = path.relative_to(root).as_posix()
    return UserFile(name, stat.st_size, stat.st_mtime, stat.st_ctime, path.is_dir())


def _entries(place: Path, root: Path, recursive: bool) -> Iterator[UserFile]:
    """Without links, which could lead elsewhere, and without files that are still being written."""
    if not place.is_dir():
        raise FileNotFoundError(f"There is no folder {place.name}.")
    for path in sorted(place.rglob("*") if recursive else place.iterdir()):
        if not path.is_symlink() and not (path.name.startswith(".") and path.suffix == ".part"):
            yield _described(path, root)
