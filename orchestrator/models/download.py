"""Brings one file to the shelf: once, whole, checked, going on where an earlier try or an earlier life ended.

Between processes the lock of the part decides who downloads; the others watch the part grow. Bytes are written and
hashed in a thread while the next ones arrive. Must not know who wants the file.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TypeVar

from orchestrator.errors import DownloadFailed, ModelUnavailable, ShelfFull
from orchestrator.models.civitai import Version, VersionFile
from orchestrator.models.client import CivitaiClient
from orchestrator.models.delivery import Arrival, Expired
from orchestrator.models.header import NotSafetensors
from orchestrator.models.layout import Place
from orchestrator.models.locks import FileLock
from orchestrator.models.memory import Memory
from orchestrator.models.origin import Origin, write_origin
from orchestrator.models.part import PartFile, disk_errors
from orchestrator.models.room import Room
from orchestrator.models.shelf import Shelf
from orchestrator.models.speed import Progress, Speedometer

log = logging.getLogger(__name__)

_BATCH = 4 << 20
"""Bytes that go to the thread at once."""
_WATCH_SECONDS = 0.2
_BATCH_SECONDS = 0.1
"""As long as a slow connection's bytes wait for more, so that a killed process loses little."""

T = TypeVar("T")


@dataclass(frozen=True)
class RemoteFile:
    """A file at Civitai that has been looked at; `size` in bytes and `family` follow from its header."""

    version: Version
    file: VersionFile
    size: int
    family: str
    prediction: str = ""
    chosen: bool = True
    """False if the request named this file of the version."""


Tell = Callable[[Progress], None]


class _Mismatch(Exception):
    """The whole file is there and is not the one that was promised."""


class Downloader:
    """Fetches files to `shelf` within `room`. In seconds: `deadline` for one file, `room_patience` for room.

    `heard` is called with "done" or "failed" and the file's size in bytes after each."""

    def __init__(
        self,
        client: CivitaiClient,
        shelf: Shelf,
        room: Room,
        *,
        deadline: float = 7200.0,
        room_patience: float = 120.0,
        source: str = "",
        heard: Callable[[str, int], None] = lambda *_: None,
    ) -> None:
        self._client = client
        self._shelf = shelf
        self._room = room
        self._deadline = deadline
        self._room_patience = room_patience
        self._source = source
        self._heard = heard
        self._refused: Memory[Place, None] = Memory(0.0)

    async def fetch(self, place: Place, remote: RemoteFile, tell: Tell) -> None:
        """The file in its place, whole and checked. Raises a ModelError or StorageError; for an hour the same one
        without a byte of traffic, if the file came whole and was not the one promised."""
        self._refused.recall(place)
        speed = Speedometer(remote.version.title, remote.size, time.monotonic)
        try:
            async with asyncio.timeout(self._deadline):
                lock = await self._turn(place, speed, tell)
                try:
                    if not await asyncio.to_thread(self._shelf.is_whole, place):
                        await self._reserve(place, remote.size)
                        await self._told(remote.size, self._bring(place, remote, speed, tell))
                finally:
                    lock.close()
        except DownloadFailed as error:
            self._refused.keep_refusal(place, error)
            raise
        except TimeoutError as error:
            text = f"{remote.version.title} did not come within {self._deadline:g} s; what has come is kept"
            raise ModelUnavailable(text) from error

    async def _told(self, size: int, download: Coroutine[None, None, None]) -> None:
        try:
            await download
        except Exception:
            self._heard("failed", size)
            raise
        self._heard("done", size)

    async def _turn(self, place: Place, speed: Speedometer, tell: Tell) -> FileLock:
        """The lock of the part, once whoever downloads the same file has ended, or died."""
        while (lock := _try_lock(place)) is None:  # not in a thread: a cancelled wait for one would lose the lock
            tell(speed.at(_part_size(place)))
            await asyncio.sleep(_WATCH_SECONDS)
        return lock

    async def _reserve(self, place: Place, size: int) -> None:
        """Room on the shelf, waited for while jobs hold what would have to go."""
        end = time.monotonic() + self._room_patience
        while True:
            try:
                return await asyncio.to_thread(self._room.reserve, place, size)
            except ShelfFull:
                if size > self._room.budget or time.monotonic() > end:
                    raise
                await asyncio.sleep(_WATCH_SECONDS)

    async def _bring(self, place: Place, remote: RemoteFile, speed: Speedometer, tell: Tell) -> None:
        part = PartFile(place, remote.size)
        try:
            await _to_the_end(asyncio.to_thread(part.open))
            if part.size:
                log.info("%s: going on at %d of %d bytes", place.stem, part.size, remote.size)
            verified_by = await self._checked(part, remote, speed, tell)
            await _to_the_end(asyncio.to_thread(self._finish, part, place, remote, verified_by))
        finally:
            part.close()

    async def _checked(self, part: PartFile, remote: RemoteFile, speed: Speedometer, tell: Tell) -> str:
        """Brings the part to its end and checks it; says by what. Raises DownloadFailed.

        One that was put together from several connections or lives is fetched once more from the start if it is wrong.
        One that came in a single piece is not: its gigabytes would come the same again.
        """
        for last in (False, True):
            together = part.size > 0
            together |= await self._transfer(part, remote, speed, tell) > 1
            try:
                return await _to_the_end(asyncio.to_thread(_verified_by, part, remote.file))
            except _Mismatch as error:
                await _to_the_end(asyncio.to_thread(part.restart))
                if last or not together:
                    raise DownloadFailed(f"{remote.version.title}: {error}") from error
                log.warning("%s: %s; fetching it once more from the start", remote.version.title, error)
        raise AssertionError("the second round ends it")

    def _finish(self, part: PartFile, place: Place, remote: RemoteFile, verified_by: str) -> None:
        version, file = remote.version, remote.file
        origin = Origin(
            version_id=version.id,
            file_id=file.id,
            model_id=version.model_id,
            title=version.title,
            base_model=version.base_model,
            family=remote.family,
            prediction=remote.prediction,
            chosen=remote.chosen,
            trained_words=version.trained_words,
            size=part.size,
            sha256=part.sha256,
            verified_by=verified_by,
            source=self._source,
            fetched_at=time.time(),
        )
        with disk_errors():
            # First, so that there never is a file of ours without it, which would pass for one put there by hand.
            write_origin(place.origin, origin)
        part.finish()
        log.info("%s (%s) is on the shelf: %d bytes, checked by %s", place.stem, version.title, part.size, verified_by)

    async def _transfer(self, part: PartFile, remote: RemoteFile, speed: Speedometer, tell: Tell) -> int:
        """Until all bytes are there, in how many connections. One that brought some on does not count as failed."""
        patience, failed, connections = self._client.patience, 0, 0
        while part.size < remote.size:
            before, connections = part.size, connections + 1
            try:
                await self._one_connection(part, remote, speed, tell)
                failed += 1
                reason = f"the delivery host ended after {part.size} of {remote.size} bytes"
            except Expired as error:
                failed, reason = failed + 1, str(error)
            except ModelUnavailable as error:
                failed, reason = failed + 1, error.detail
                if self._client.quiet_seconds > patience.longest_wait:
                    raise
            if part.size >= remote.size:
                break
            if part.size > before:
                failed = 1
            if failed >= patience.tries:
                raise ModelUnavailable(f"{remote.version.title} cannot be fetched now: {reason}; what has come is kept")
            log.info("%s; going on at %d of %d bytes", reason, part.size, remote.size)
            await asyncio.sleep(max(patience.wait(failed - 1), self._client.quiet_seconds))
        return connections

    async def _one_connection(self, part: PartFile, remote: RemoteFile, speed: Speedometer, tell: Tell) -> None:
        opening = self._client.open_file(remote.version.id, remote.file.id, start=part.size, etag=part.etag)
        async with opening as arrival:
            if arrival.start != part.size:
                await _to_the_end(asyncio.to_thread(part.restart))
            if arrival.total is not None and arrival.total != remote.size:
                raise ModelUnavailable(
                    f"the delivery host announces {arrival.total} bytes, and the file's header makes it {remote.size}"
                )
            await _to_the_end(asyncio.to_thread(part.remember, arrival.etag))
            await _store(arrival, part, remote.size, lambda: tell(speed.at(part.size)))


async def _store(arrival: Arrival, part: PartFile, size: int, told: Callable[[], None]) -> None:
    """Writes what arrives, in batches, each in a thread while the next comes; what has come is kept on a failure."""
    writing: asyncio.Future[None] | None = None
    batch, room, written_at = bytearray(), size - part.size, time.monotonic()
    try:
        async for piece in _within(arrival.pieces, room):
            batch += piece
            if len(batch) < _BATCH and time.monotonic() - written_at < _BATCH_SECONDS:
                continue
            if writing is not None:
                await _to_the_end(writing)
            writing = asyncio.ensure_future(asyncio.to_thread(part.append, batch))
            batch, written_at = bytearray(), time.monotonic()
            told()
    finally:
        await _to_the_end(_rest(writing, batch, part))
        told()


async def _rest(writing: "asyncio.Future[None] | None", batch: bytearray, part: PartFile) -> None:
    if writing is not None:
        await writing
    if batch:
        await asyncio.to_thread(part.append, batch)


async def _within(pieces: AsyncIterator[bytes], room: int) -> AsyncIterator[bytes]:
    """Bytes that are more than promised are not the file's; that they came shows in the hash or the length."""
    async for piece in pieces:
        if room <= 0:
            return
        yield piece[:room]
        room -= len(piece)


async def _to_the_end(work: Awaitable[T]) -> T:
    """Awaits `work` to its end also when cancelled: a thread that uses the part's file can't be stopped."""
    task, cancelled = asyncio.ensure_future(work), None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()  # looked at, so that it is not reported as forgotten
        raise cancelled
    return task.result()


def _verified_by(part: PartFile, file: VersionFile) -> str:
    """What the whole part was held against. Raises _Mismatch."""
    try:
        part.check_structure()
    except NotSafetensors as error:
        raise _Mismatch(f"what came is no safetensors file: {error}") from error
    if not file.sha256:
        return "structure"
    if part.sha256 == file.sha256:
        return "SHA256"
    # Some of Civitai's hashes are older than a change of the file's metadata; that of the tensors alone still holds.
    if file.tensor_sha256 and part.tensor_sha256().startswith(file.tensor_sha256):
        return "AutoV3"
    raise _Mismatch(
        f"its SHA-256 is {part.sha256} and Civitai says {file.sha256}; "
        f"if you trust the file, put it on the shelf by hand"
    )


def _try_lock(place: Place) -> FileLock | None:
    with disk_errors():
        return FileLock.try_exclusive(place.part_lock)


def _part_size(place: Place) -> int:
    return place.part.stat().st_size if place.part.exists() else 0
