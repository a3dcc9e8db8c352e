"""A file on its way to the shelf: what has come of it, hashed as it comes, kept over restarts.

Everything here blocks and is called in threads. Errors of the disk leave as StorageErrors. Must not know where the
bytes come from.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.errors import ShelfFull, StorageError
from orchestrator.models import header
from orchestrator.models.layout import Place

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_BLOCK = 4 << 20


@dataclass(frozen=True)
class PartNote:
    """What is known of a part, beside it: how large the whole will be, and which file of that name it was."""

    total: int
    etag: str = ""


def read_note(path: Path) -> PartNote | None:
    """None if there is none that can be read."""
    try:
        content = json.loads(path.read_bytes())
        note = PartNote(content["total"], content["etag"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return note if type(note.total) is int and isinstance(note.etag, str) else None


def write_note(path: Path, note: PartNote) -> None:
    """Whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    with disk_errors():
        fresh.write_text(json.dumps(asdict(note)))
        fresh.replace(path)


class PartFile:
    """Owns a place's part while its lock is held by the caller."""

    def __init__(self, place: Place, total: int) -> None:
        self._place = place
        self._total = total
        self._hash = hashlib.sha256()
        self._file = -1
        self.size = 0
        """Bytes that have come and are hashed."""
        note = read_note(place.part_note)
        self.etag = note.etag if note and note.total == total else ""

    def open(self) -> None:
        """Opens what an earlier life left and hashes it."""
        with disk_errors():
            self._place.part.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._place.part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if os.fstat(self._file).st_size > self._total:
                self.restart()
            while block := os.read(self._file, _BLOCK):
                self._hash.update(block)
                self.size += len(block)

    def restart(self) -> None:
        """Begins at the first byte again."""
        with disk_errors():
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
        self._hash, self.size = hashlib.sha256(), 0

    def append(self, data: bytes | bytearray) -> None:
        """Writes and hashes the next bytes."""
        with disk_errors():
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
        self._hash.update(data)
        self.size += len(data)

    def remember(self, etag: str) -> None:
        """Keeps the mark by which the server tells whether its file is still the same one."""
        if etag != self.etag:
            self.etag = etag
            write_note(self._place.part_note, PartNote(self._total, etag))

    @property
    def sha256(self) -> str:
        """Of what has come so far."""
        return self._hash.hexdigest()

    def tensor_sha256(self) -> str:
        """Of what follows the header. Raises NotSafetensors."""
        with disk_errors():
            length = self.check_structure()
            os.lseek(self._file, header.LENGTH_BYTES + length, os.SEEK_SET)
            digest = hashlib.sha256()
            while block := os.read(self._file, _BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def check_structure(self) -> int:
        """The header's length, if the file is as long as its header says. Raises NotSafetensors."""
        length = header.header_length(os.pread(self._file, header.LENGTH_BYTES, 0), header.FETCHED_LIMIT)
        text = os.pread(self._file, length, header.LENGTH_BYTES)
        whole = header.LENGTH_BYTES + length + header.data_length(text)
        if whole != self.size:
            raise header.NotSafetensors(f"it is {self.size} bytes long and should be {whole}")
        return length

    def finish(self) -> None:
        """Puts the whole file in its place, for good: it is on the disk before its name is."""
        with disk_errors():
            os.fsync(self._file)
            self._place.part.replace(self._place.file)
            folder = os.open(self._place.file.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            self._place.part_note.unlink(missing_ok=True)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@contextmanager
def disk_errors() -> Iterator[None]:
    """Errors of the disk as ours: ShelfFull when it is full, else StorageError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise ShelfFull("The disk is full; free some of it or lower shelf_gb") from error
        raise StorageError(f"The model folder cannot be used: {error}") from error


def sha256_of(path: Path) -> str:
    """Of a file on the disk. Raises StorageError."""
    with disk_errors(), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
