"""Room on the shelf: the budget, the disk's floor, and what has to go for a new file.

Files that were set aside and dead downloads go first, then the least recently used; never what a job holds, what the
operator keeps, or what was put there by hand. One process at a time decides, and a reservation stands in the note
beside the part, so that processes add up. Blocks.
"""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import ShelfFull
from orchestrator.models.layout import KINDS, Place, folder_of, hidden
from orchestrator.models.locks import FileLock
from orchestrator.models.origin import Origin, read_origin
from orchestrator.models.part import PartNote, disk_errors, read_note, write_note

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """A whole file that the service fetched, its size on the disk (bytes) and its last use (seconds since 1970)."""

    place: Place
    origin: Origin
    size: int
    used_at: float


@dataclass(frozen=True)
class Part:
    """A file on its way: bytes that are there and bytes that it will have; `live` while somebody downloads it."""

    place: Place
    size: int
    total: int
    live: bool


@dataclass(frozen=True)
class Damaged:
    """A file that was set aside, its size in bytes."""

    place: Place
    size: int


@dataclass(frozen=True)
class Room:
    """At most `budget` bytes of fetched files in `root`; at least `floor` bytes of its disk stay free."""

    root: Path
    budget: int
    floor: int

    def reserve(self, place: Place, total: int) -> None:
        """Makes room for a file of `total` bytes, whose part's lock the caller holds; deletes what has to go for it.

        Raises ShelfFull, with nothing deleted, if there cannot be enough.
        """
        if total > self.budget:
            raise ShelfFull(
                f"The model has {_gb(total)}, more than the shelf may hold ({_gb(self.budget)}); raise shelf_gb"
            )
        with disk_errors(), FileLock.exclusive(hidden(self.root) / "shelf.lock"):
            folder_of(self.root, place.kind).mkdir(parents=True, exist_ok=True)
            others = [part for part in parts(self.root) if part.place != place]
            here = _size(place.part)
            live = sum(part.total for part in others if part.live)
            dead = [part for part in others if not part.live]
            outstanding = sum(max(0, part.total - part.size) for part in others if part.live)
            # What lies in the place itself is damaged, and the new file takes its place.
            files = [file for file in fetched(self.root) if file.place != place]
            aside = damaged(self.root)
            held = sum(file.size for file in files) + sum(part.size for part in dead) + sum(item.size for item in aside)
            over_budget = held + live + total - self.budget
            under_floor = outstanding + total - here + self.floor - shutil.disk_usage(self.root).free
            self._free(max(over_budget, under_floor), [*aside, *dead, *sorted(files, key=lambda file: file.used_at)])
            note = read_note(place.part_note)
            if note is None or note.total != total:
                write_note(place.part_note, PartNote(total))
            place.part.touch()

    def _free(self, wanted: int, candidates: Sequence[Damaged | Part | Fetched]) -> None:
        """Deletes at least `wanted` bytes, the first ones first, or raises ShelfFull and deletes nothing."""
        with ExitStack() as locks:
            going: list[Damaged | Part | Fetched] = []
            found = 0
            for item in candidates:
                if found >= wanted:
                    break
                lock = None if isinstance(item, Damaged) else _taken(item)
                if lock is not None:
                    locks.enter_context(lock)
                if lock is not None or isinstance(item, Damaged):  # which nobody reads
                    going.append(item)
                    found += item.size
            if found < wanted:
                raise ShelfFull(
                    f"The shelf is full: {_gb(wanted - found)} more would be needed, and every other model is in use "
                    f"or kept; try again later, raise shelf_gb or free some disk"
                )
            for item in going:
                log.info("%s leaves the shelf to make room (%s)", item.place.stem, _gb(item.size))
                if isinstance(item, Damaged):
                    item.place.damaged.unlink(missing_ok=True)
                else:
                    delete(item.place, part=isinstance(item, Part))


def delete(place: Place, *, part: bool) -> None:
    """Deletes a part or a file, whose lock the caller holds. The origin goes last: alone it stands for nothing."""
    for path in (place.part, place.part_note) if part else (place.file, place.origin, place.kept):
        path.unlink(missing_ok=True)


def fetched(root: Path) -> list[Fetched]:
    """Every file with an origin beside it, damaged or not."""
    found = []
    for kind in KINDS:
        for path in folder_of(root, kind).glob("*.json"):
            place = Place(root, kind, path.stem)
            origin = read_origin(path)
            if origin is not None and (size := _size(place.file)):
                found.append(Fetched(place, origin, size, used_at(place)))
    return found


def parts(root: Path) -> list[Part]:
    """Every download that has begun and not ended."""
    found = []
    for path, place in _hidden(root, "part"):
        note = read_note(place.part_note)
        lock = FileLock.try_exclusive(place.part_lock)
        if lock is not None:
            lock.close()
        size = _size(path)
        found.append(Part(place, size, note.total if note else size, live=lock is None))
    return found


def damaged(root: Path) -> list[Damaged]:
    """Every file that was set aside."""
    return [Damaged(place, _size(path)) for path, place in _hidden(root, "damaged")]


def _hidden(root: Path, ending: str) -> Iterator[tuple[Path, Place]]:
    for path in sorted(hidden(root).glob(f"*.{ending}")):
        kind = next((kind for kind in KINDS if path.name.startswith(kind + "-")), None)
        if kind is not None:
            yield path, Place(root, kind, path.stem.removeprefix(kind + "-").replace("%2F", "/"))


def used_at(place: Place) -> float:
    """When a job last used the file; when it came, if none ever did."""
    for path in (place.pin_lock, place.file):
        if path.exists():
            return path.stat().st_mtime
    return 0.0


def _taken(item: Part | Fetched) -> FileLock | None:
    """The lock of something that may go, or None if it may not."""
    if isinstance(item, Part):
        return FileLock.try_exclusive(item.place.part_lock)
    return None if item.place.kept.exists() else FileLock.try_exclusive(item.place.pin_lock)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 10_000_000 else f"{size / 1e6:.3f} MB"
