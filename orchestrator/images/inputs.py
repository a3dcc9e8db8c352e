"""The pictures that jobs need, as files named `JOB.PICTURE`, from a job's acceptance until it is forgotten.

Files outlive the process, so that a job can run after a restart or at another try, and be opened in the editor as it
ran when it has ended. All in one folder, for to make a folder, and files in it, takes a disk many times as long as to
make files in a folder that it knows. Must not know what they show.
"""

import asyncio
import errno
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from orchestrator.errors import StorageError, StorageFull

_JOB = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_NAME = re.compile(r"[0-9a-f]{64}\.png", re.ASCII)
_FILE = re.compile(rf"(?P<job>{_JOB.pattern})\.[0-9a-f]{{64}}\.(png|part)", re.ASCII)

_YOUNG_SECONDS = 60.0

Ids: TypeAlias = Callable[[], Awaitable[frozenset[str]]]


class InputFiles:
    """Keeps pictures by job id (a UUID) and file name (`Picture.name`) below `folder`.

    Those of ended jobs may fill `limit_bytes`; with 0 they go when the job ends.
    """

    def __init__(self, folder: Path, limit_bytes: int = 0) -> None:
        self._folder = folder
        self._limit = limit_bytes
        _take_out_of_folders(folder)

    async def keep(self, job_id: str, pictures: Mapping[str, bytes]) -> None:
        """Writes the job's pictures; they stay until `drop`, also those that came before a failure.

        What is there already is left alone: a job that another request hands in may be reading it. Raises StorageFull
        or StorageError.
        """
        if pictures:
            await asyncio.to_thread(self._write, job_id, pictures)

    async def read(self, job_id: str, names: Sequence[str]) -> dict[str, bytes]:
        """These of the job's pictures, by name. Raises StorageError."""
        paths = {name: self._path(job_id, name) for name in names}
        try:
            return await asyncio.to_thread(lambda: {name: path.read_bytes() for name, path in paths.items()})
        except OSError as error:
            raise StorageError(f"A picture of the job is gone: {error}") from error

    async def drop(self, job_id: str) -> None:
        """Deletes the job's pictures, if there are any."""
        job = _checked(_JOB, job_id)
        await asyncio.to_thread(lambda: _delete(path for name, path in self._files() if name == job))

    async def end(self, job_id: str) -> None:
        """The job has ended: its pictures stay as long as it is remembered, while there is room."""
        if not self._limit:
            await self.drop(job_id)

    async def sweep(self, kept: Ids, unfinished: Ids) -> int:
        """Deletes the pictures of jobs that are not `kept` any more, then the oldest of those not `unfinished` that are
        more than there is room for; of how many jobs.

        What is younger than a minute is left alone: its job may be on the way to being kept.
        """
        old = await asyncio.to_thread(self._old, time.time() - _YOUNG_SECONDS)
        remembered = await kept()
        needed = await unfinished()
        left = [job_id for job_id in old if job_id not in remembered]
        room = self._limit
        for job_id, found in old.items():
            if job_id in remembered and job_id not in needed:
                room -= found.size
                left += [job_id] if room < 0 else []
        for job_id in left:
            await asyncio.to_thread(_delete, old[job_id].paths)
        return len(left)

    def _path(self, job_id: str, name: str) -> Path:
        return self._folder / f"{_checked(_JOB, job_id)}.{_checked(_NAME, name)}"

    def _files(self) -> Iterator[tuple[str, Path]]:
        """Each with the job that it is of."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if match := _FILE.fullmatch(path.name):
                    yield match["job"], path

    def _write(self, job_id: str, pictures: Mapping[str, bytes]) -> None:
        paths = {self._path(job_id, name): data for name, data in pictures.items()}
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for path, data in paths.items():
                if not path.exists():  # named by what is in it
                    fresh = path.with_suffix(".part")
                    with open(fresh, "wb", opener=_private) as file:
                        file.write(data)
                    fresh.replace(path)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull from error
            raise StorageError(f"The job's pictures could not be written: {error}") from error

    def _old(self, before: float) -> "dict[str, _Found]":
        """What there is of each job, the newest first."""
        found: dict[str, _Found] = {}
        for job_id, path in self._files():
            with suppress(FileNotFoundError):
                status = path.stat()
                job = found.setdefault(job_id, _Found())
                job.paths.append(path)
                job.size += status.st_size
                job.changed = max(job.changed, status.st_mtime)
        newest = sorted(found.items(), key=lambda item: item[1].changed, reverse=True)
        return {job_id: job for job_id, job in newest if job.changed < before}


@dataclass
class _Found:
    """The files of one job, their bytes, and when the newest was written (seconds since the epoch)."""

    paths: list[Path] = field(default_factory=list)
    size: int = 0
    changed: float = 0.0


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):  # then the sweep sees to it
            path.unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


def _take_out_of_folders(inputs: Path) -> None:
    """Earlier versions had a folder for each job."""
    folders = [path for path in inputs.iterdir() if _JOB.fullmatch(path.name)] if inputs.is_dir() else []
    for folder in folders:
        with suppress(OSError):
            for path in folder.iterdir():
                path.chmod(0o600)
                path.rename(inputs / f"{folder.name}.{path.name}")
            folder.rmdir()


def _checked(pattern: re.Pattern[str], name: str) -> str:
    """The name, which leads nowhere but into the folder."""
    if not pattern.fullmatch(name):
        raise StorageError(f"{name[:100]!r} is no name of a job or a job's picture")
    return name
