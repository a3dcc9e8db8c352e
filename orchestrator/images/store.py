"""Keeps rendered images on the local disk until they expire. Must not know what they show or who may see them.

A file's name is its key and says when it expires, so nothing but the folder has to survive a restart:
`<32 random URL-safe characters>.<expiry, seconds since 1970>.<jpg or png>`.
"""

import asyncio
import errno
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestrator.errors import ImageNotFound, StorageError, StorageFull

log = logging.getLogger(__name__)

_SUFFIXES = {"image/jpeg": "jpg", "image/png": "png"}
_CONTENT_TYPES = {suffix: content_type for content_type, suffix in _SUFFIXES.items()}
_KEY = re.compile(r"[A-Za-z0-9_-]{32}\.(?P<expires>[0-9]{1,12})\.(?P<suffix>jpg|png)", re.ASCII)
_PART = re.compile(r"\.[A-Za-z0-9_-]{32}\.[0-9]{1,12}\.(jpg|png)\.[0-9a-f]{8}\.part", re.ASCII)
_STALE_SECONDS = 3600.0
"""A temporary file this old was left by a service that died while writing."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class StoredImage:
    """One image on the disk."""

    key: str
    """Its name in links; cannot be guessed (192 random bits)."""
    path: Path
    content_type: str
    size: int
    """Bytes."""
    expires_at: float
    """Seconds since 1970."""


def new_name() -> str:
    """A name for an image that nobody can guess: 192 random bits in 32 URL-safe characters."""
    return secrets.token_urlsafe(24)


class ImageStore:
    """Owns `folder` and the sweeper, from `async with` to its end.

    At most `limit_bytes` are kept, each for `lifetime` seconds; at least `floor_bytes` of the disk stay free. The
    sweeper deletes what has expired every `sweep_every` seconds. `clock` gives seconds since 1970. One service a
    folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limit_bytes: int,
        lifetime: float = 4 * 3600.0,
        floor_bytes: int = 1_000_000_000,
        sweep_every: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._limit = limit_bytes
        self._lifetime = lifetime
        self._floor = floor_bytes
        self._sweep_every = sweep_every
        self._clock = clock
        self._used = 0
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StorageError(f"The image folder cannot be made: {error}") from error
        await self.sweep()
        self._sweeper = asyncio.create_task(self._sweep_for_ever(), name="image sweeper")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._sweeper = self._sweeper, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @property
    def used_bytes(self) -> int:
        """What the kept images occupy, as of the last sweep and the images put since."""
        return self._used

    def ensure_room(self, expected: int = 16_000_000) -> None:
        """Raises StorageFull if an image of `expected` bytes would pass the limit or the disk's floor; asked before a
        run.

        One statvfs, so it is called on the event loop. It reserves nothing: `put` asks again with the real size.
        """
        if self._used + expected > self._limit:
            raise StorageFull(f"The image store holds {self._used} of its {self._limit} bytes; try again later")
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise StorageError(f"The image folder cannot be used: {error}") from error
        if free - expected < self._floor:
            raise StorageFull("The disk of the image store is nearly full; try again later")

    async def put(self, data: bytes, content_type: str, name: str | None = None) -> StoredImage:
        """Keeps `data`, of content type image/jpeg or image/png: whole under its name or not at all.

        `name` is one of `new_name`, a fresh one if None; `find` finds the image by it. Raises StorageFull, or
        StorageError if the disk fails.
        """
        self.ensure_room(len(data))
        expires = int(self._clock() + self._lifetime)
        key = f"{name or new_name()}.{expires}.{_SUFFIXES[content_type]}"
        self._used += len(data)
        try:
            await asyncio.to_thread(_write, self._folder / key, data)
        except OSError as error:
            self._used -= len(data)
            if error.errno in _FULL:
                raise StorageFull from error
            raise StorageError(f"The image could not be written: {error}") from error
        return StoredImage(key, self._folder / key, content_type, len(data), float(expires))

    async def open(self, key: str) -> StoredImage:
        """The kept image of that key; ImageNotFound if it never was, has expired, or is no key at all."""
        match = _KEY.fullmatch(key)  # leaves no way out of the folder: no slash, no leading dot
        if not match or int(match["expires"]) <= self._clock():
            raise ImageNotFound
        path = self._folder / key
        try:
            status = await asyncio.to_thread(path.stat)
        except OSError as error:
            raise ImageNotFound from error
        return StoredImage(key, path, _CONTENT_TYPES[match["suffix"]], status.st_size, float(match["expires"]))

    async def find(self, name: str) -> StoredImage | None:
        """The image that was put under this name and has not expired, if there is one."""
        keys = await asyncio.to_thread(lambda: [path.name for path in _files(self._folder) if path.name[:32] == name])
        for key in keys:
            with suppress(ImageNotFound):
                return await self.open(key)
        return None

    async def drop(self, name: str) -> None:
        """Deletes what was put under this name, if anything was. Raises StorageError."""
        image = await self.find(name)
        if image is None:
            return
        try:
            await asyncio.to_thread(image.path.unlink, missing_ok=True)
        except OSError as error:
            raise StorageError(f"The image cannot be deleted: {error}") from error
        self._used = max(0, self._used - image.size)

    async def sweep(self) -> int:
        """Deletes expired images and temporary files left behind, and measures the rest. Returns how many went."""
        before = self._used
        try:
            deleted, kept = await asyncio.to_thread(_sweep, self._folder, self._clock())
        except OSError as error:
            raise StorageError(f"The image folder cannot be swept: {error}") from error
        # Images put meanwhile may or may not have been seen: counted until the next sweep.
        self._used = kept + max(0, self._used - before)
        return deleted

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_every)
            try:
                deleted = await self.sweep()
            except Exception:
                log.exception("sweeping the image store failed; it is tried again in %g s", self._sweep_every)
            else:
                log.log(logging.INFO if deleted else logging.DEBUG, "swept %d expired images", deleted)


def _write(path: Path, data: bytes) -> None:
    # A name of its own for each try: another life of the service may have left a part of the same image.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _sweep(folder: Path, now: float) -> tuple[int, int]:
    """(files deleted, bytes kept). Files that are not the store's are left alone."""
    deleted = kept = 0
    for path in _files(folder):
        match = _KEY.fullmatch(path.name)
        with suppress(FileNotFoundError):
            status = path.stat()
            expired = int(match["expires"]) <= now if match else status.st_mtime + _STALE_SECONDS <= now
            if expired:
                path.unlink()
                deleted += 1
            else:
                kept += status.st_size
    return deleted, kept


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if _KEY.fullmatch(path.name) or _PART.fullmatch(path.name):
            yield path
