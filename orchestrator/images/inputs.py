"""The pictures that unfinished jobs need, as files: a folder a job, from its acceptance to its end.

Files outlive the process, so that a job can run after a restart or at another try. Must not know what they show.
"""

import asyncio
import errno
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from orchestrator.errors import StorageError, StorageFull

_JOB = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_NAME = re.compile(r"[0-9a-f]{64}\.png", re.ASCII)

_YOUNG_SECONDS = 60.0


class InputFiles:
    """Keeps pictures by job id (a UUID) and file name (`Picture.name`) below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def keep(self, job_id: str, pictures: Mapping[str, bytes]) -> None:
        """Writes the job's pictures; they stay until `drop`. Raises StorageFull or StorageError."""
        if pictures:
            await asyncio.to_thread(self._write, job_id, pictures)

    async def read(self, job_id: str, name: str) -> bytes:
        """One of the job's pictures. Raises StorageError."""
        path = self._path(job_id) / _checked(_NAME, name)
        try:
            return await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            raise StorageError(f"A picture of the job is gone: {error}") from error

    async def drop(self, job_id: str) -> None:
        """Deletes the job's pictures, if there are any."""
        await asyncio.to_thread(shutil.rmtree, self._path(job_id), ignore_errors=True)

    async def sweep(self, unfinished: Callable[[], Awaitable[frozenset[str]]]) -> int:
        """Deletes what jobs have left that have ended without a `drop`; how many. `unfinished` tells who has not.

        What is younger than a minute is left alone: its job may be on the way to being kept.
        """
        old = await asyncio.to_thread(self._old, time.time() - _YOUNG_SECONDS)
        left = old - await unfinished()
        for job_id in left:
            await self.drop(job_id)
        return len(left)

    def _path(self, job_id: str) -> Path:
        return self._folder / _checked(_JOB, job_id)

    def _write(self, job_id: str, pictures: Mapping[str, bytes]) -> None:
        folder = self._path(job_id)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name, data in pictures.items():
                (folder / _checked(_NAME, name)).write_bytes(data)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull from error
            raise StorageError(f"The job's pictures could not be written: {error}") from error

    def _old(self, before: float) -> frozenset[str]:
        if not self._folder.exists():
            return frozenset()
        return frozenset(
            path.name for path in self._folder.iterdir() if _JOB.fullmatch(path.name) and path.stat().st_mtime < before
        )


def _checked(pattern: re.Pattern[str], name: str) -> str:
    """The name, which leads nowhere but into the folder."""
    if not pattern.fullmatch(name):
        raise StorageError(f"{name[:100]!r} is no name of a job or a job's picture")
    return name
