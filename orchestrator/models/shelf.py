"""The models on this machine's disk: finds files by name or by Civitai's numbers, reads headers, pins, lists, removes.

Backends read the same folders. A file that the service fetched has its origin beside it and counts as whole only at the
size that stands there; any other file was put there by the operator and is taken as it is. Knows nothing of Civitai's
API or of widgets. Blocks.
"""

import difflib
import hashlib
import logging
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from orchestrator.errors import StorageError
from orchestrator.models import header
from orchestrator.models.layout import KINDS, SUFFIX, Place, folder_of, hidden, stem_of
from orchestrator.models.locks import FileLock
from orchestrator.models.nature import Nature, nature_of
from orchestrator.models.origin import Origin, read_origin
from orchestrator.models.part import disk_errors
from orchestrator.models.reference import Kind
from orchestrator.models.room import Damaged, damaged, delete, fetched, parts, used_at

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShelfEntry:
    """One file as the operator sees it. `used_at` is in seconds since 1970."""

    place: Place
    size: int
    used_at: float
    kept: bool
    in_use: bool
    origin: Origin | None


@dataclass(frozen=True)
class Survey:
    """What a start found: downloads that can go on, and files that were not as long as they should be."""

    partial: tuple[tuple[str, int, int], ...]
    """Name, bytes that are there, bytes that it will have."""
    damaged: tuple[str, ...]


@lru_cache(maxsize=1024)
def _nature(path: Path, _changed_ns: int, _size: int) -> Nature:
    with path.open("rb") as file:
        length = header.header_length(file.read(header.LENGTH_BYTES))
        return nature_of(header.parse_header(file.read(length)))


@lru_cache(maxsize=1024)
def _origin(path: Path, _changed_ns: int) -> Origin | None:
    return read_origin(path)


class Shelf:
    """One folder with `checkpoints` and `loras` below it, shared by processes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def named(self, kind: Kind, name: str) -> Place | None:
        """The model whose file is called exactly that, with its ending or without; None if there is none."""
        if "/" in name or name.startswith(".") or len(name) > 200:
            return None
        places = (Place(self.root, kind, stem) for stem in (name, name.removesuffix(SUFFIX)))
        return next((place for place in places if place.file.is_file() and self.is_whole(place)), None)

    def fetched_version(self, kind: Kind, version_id: int, file_id: int | None) -> Place | None:
        """The whole file that was fetched for a version, or that very file of it; None if there is none."""
        if file_id is not None:
            found = [Place(self.root, kind, stem_of(version_id, file_id))]
        else:
            paths = folder_of(self.root, kind).glob(f"{version_id}-*.json")
            found = [Place(self.root, kind, path.stem) for path in sorted(paths)]
        for place in found:
            origin = self.origin(place)
            if origin is not None and (origin.chosen or file_id is not None) and self.is_whole(place):
                return place
        return None

    def near(self, kind: Kind, name: str) -> list[str]:
        """Up to three names that the caller may have meant."""
        names = sorted(path.stem for path in folder_of(self.root, kind).glob("*" + SUFFIX))
        return difflib.get_close_matches(name, names, 3, 0.4) or names[:3]

    def origin(self, place: Place) -> Origin | None:
        """Where the file came from, None if it was put there by hand."""
        try:
            return _origin(place.origin, place.origin.stat().st_mtime_ns)
        except FileNotFoundError:
            return None

    def is_whole(self, place: Place) -> bool:
        """Whether there is a file, as long as its origin says if it has one."""
        try:
            size = place.file.stat().st_size
        except FileNotFoundError:
            return False
        origin = self.origin(place)
        return origin is None or origin.size == size

    def nature(self, place: Place) -> Nature:
        """What its header makes it. Raises NotSafetensors and OSError."""
        about = place.file.stat()
        return _nature(place.file, about.st_mtime_ns, about.st_size)

    def try_pin(self, place: Place) -> FileLock | None:
        """While the lock is held, no process deletes the file. Counts as a use. None while it is being deleted."""
        with disk_errors():
            lock = FileLock.try_shared(place.pin_lock)
            if lock is not None:
                os.utime(place.pin_lock)
        return lock

    def listed(self) -> list[ShelfEntry]:
        """Every model, fetched or not, least recently used last."""
        found = []
        for kind in KINDS:
            for path in folder_of(self.root, kind).glob("*" + SUFFIX):
                place = Place(self.root, kind, path.stem)
                in_use = self._in_use(place)
                try:
                    size = path.stat().st_size
                except FileNotFoundError:  # a link to nowhere, or gone by now
                    size = 0
                entry = ShelfEntry(place, size, used_at(place), place.kept.exists(), in_use, self.origin(place))
                found.append(entry)
        return sorted(found, key=lambda entry: -entry.used_at)

    def keep(self, place: Place, wanted: bool) -> None:
        """Marks a file as one that stays, or takes the mark away."""
        with disk_errors():
            if wanted:
                place.kept.parent.mkdir(parents=True, exist_ok=True)
                place.kept.touch()
            else:
                place.kept.unlink(missing_ok=True)

    def remove(self, place: Place) -> None:
        """Deletes a file. Raises StorageError if a job uses it."""
        with self._unused(place), disk_errors():
            delete(place, part=False)

    def aside(self) -> list[Damaged]:
        """The files that were set aside."""
        return damaged(self.root)

    def discard(self, item: Damaged) -> None:
        """Deletes a file that was set aside."""
        with disk_errors():
            item.place.damaged.unlink(missing_ok=True)

    def _unused(self, place: Place) -> FileLock:
        """The lock that keeps jobs from the file. Raises StorageError if one uses it."""
        with disk_errors():
            lock = FileLock.try_exclusive(place.pin_lock)
        if lock is None:
            raise StorageError(f"{place.stem} is in use by a job; try again when it has ended")
        return lock

    def set_aside(self, place: Place) -> None:
        """Takes a damaged file out of the backends' sight; it stays until the same one is damaged again, or room
        is needed. Raises StorageError if a job uses it."""
        with self._unused(place):
            _hide(place)

    def survey(self) -> Survey:
        """Looks for what a crash or a bad disk left behind, and sets damaged files aside that no job uses."""
        found = []
        for file in fetched(self.root):
            if file.size == file.origin.size:
                continue
            with disk_errors():
                lock = FileLock.try_exclusive(file.place.pin_lock)
            if lock is not None:
                with lock:
                    _hide(file.place)
                found.append(file.place.stem)
        return Survey(self.partial(), tuple(found))

    def partial(self) -> tuple[tuple[str, int, int], ...]:
        """Downloads that nobody goes on with now: name, bytes that are there, bytes that it will have."""
        dead = [part for part in parts(self.root) if not part.live]
        return tuple((part.place.stem, part.size, part.total) for part in dead)

    def verify(self, place: Place) -> str | None:
        """Reads the whole file; what is wrong with it, or None. Raises StorageError."""
        with disk_errors():
            try:
                with place.file.open("rb") as file:
                    length = header.header_length(file.read(header.LENGTH_BYTES))
                    whole = header.LENGTH_BYTES + length + header.data_length(file.read(length))
                    size = file.seek(0, os.SEEK_END)
                    file.seek(0)
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except header.NotSafetensors as error:
                return str(error)
            except FileNotFoundError:
                return "there is no file where its name points to"
        if size != whole:
            return f"it is {size} bytes long and should be {whole}"
        origin = self.origin(place)
        if origin is not None and digest != origin.sha256:
            return f"its SHA-256 is {digest} and was {origin.sha256} when it came"
        return None

    def _in_use(self, place: Place) -> bool:
        if not place.pin_lock.exists():
            return False
        lock = FileLock.try_exclusive(place.pin_lock)
        if lock is None:
            return True
        lock.close()
        return False


def _hide(place: Place) -> None:
    with disk_errors():
        place.damaged.parent.mkdir(parents=True, exist_ok=True)
        place.file.replace(place.damaged)
        place.origin.unlink(missing_ok=True)


def tell(survey: Survey, root: Path) -> None:
    """Says in the log what a start found."""
    for stem, size, total in survey.partial:
        log.info("the download of %s ended early at %d of %d bytes; its next use goes on there", stem, size, total)
    for stem in survey.damaged:
        log.warning("%s was damaged and lies in %s now; its next use fetches it anew", stem, hidden(root))
