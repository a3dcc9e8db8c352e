"""Files of the shelf for backends elsewhere, by what is in them. Blocks. Knows nothing of HTTP or of who asks."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from orchestrator.models.layout import Place
from orchestrator.models.part import sha256_of
from orchestrator.models.room import fetched
from orchestrator.models.shelf import Shelf

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Content:
    """What a file holds: its SHA-256 and its length in bytes."""

    sha256: str
    size: int


@lru_cache(maxsize=256)
def _hashed(path: Path, _changed_ns: int, _size: int) -> str:
    return sha256_of(path)


class Outlet:
    """Hands out the files of one shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._by_hand: dict[str, Place] = {}

    def content(self, place: Place) -> Content:
        """A fetched file's as its origin has it; one that was put there by hand is read whole, once. Raises
        StorageError."""
        origin = self._shelf.origin(place)
        if origin is not None:
            return Content(origin.sha256, origin.size)
        about = place.file.stat()
        sha256 = _hashed(place.file, about.st_mtime_ns, about.st_size)
        self._by_hand[sha256] = place
        return Content(sha256, about.st_size)

    def find(self, sha256: str) -> Path | None:
        """The file with that content, None if it is not here."""
        if not _SHA256.fullmatch(sha256):
            return None
        found = (file.place for file in fetched(self._shelf.root) if file.origin.sha256 == sha256)
        place = next(found, None) or self._by_hand.get(sha256)
        return place.file if place is not None and self._shelf.is_whole(place) else None
