"""The pictures that jobs need, as files: a folder a job, from its acceptance until the job is forgotten.

Files outlive the process, so that a job can run after a restart or at another try, and be opened in the editor as it
ran when it has ended. Must not know what they show.
"""

import asyncio
import errno
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from orchestrator.errors import StorageError, StorageFull

_JOB = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_NAME = re.compile(r"[0-9a-f]{64}\.png", re.ASCII)

_YOUNG_SECONDS = 60.0

Ids: TypeAlias = Callable[[], Awaitable[frozenset[str]]]


class InputFiles:
    """Keeps pictures by job id (a UUID) and file name (`Picture.name`) below `folder`.

    Those of ended jobs may fill `limit_bytes`; with 0 they go when the job ends.
    """

    def __init__(self, folder: Path, limit_bytes: int = 0) -> None:
        self._folder = folder
        self._limit = limit_bytes

    async def keep(self, job_id: str, pictures: Mapping[str, bytes]) -> None:
        """Writes the job's pictures; they stay until `drop`, also those that came before a failure.

        What is there already is left alone: a job that another request hands in may be reading it. Raises StorageFull
        or StorageError.
        """
        if pictures:
            await asyncio.to_thread(self._write, job_id, pictures)

    async def read(self, job_id: str, names: Sequence[str]) -> dict[str, bytes]:
        """These of the job's pictures, by name. Raises StorageError."""
        folder = self._path(job_id)
        paths = {name: folder / _checked(_NAME, name) for name in names}
        try:
            return await asyncio.to_thread(lambda: {name: path.read_bytes() for name, path in paths.items()})
        except OSError as error:
            raise StorageError(f"A picture of the job is gone: {error}") from error

    async def drop(self, job_id: str) -> None:
        """Deletes the job's pictures, if there are any."""
        await asyncio.to_thread(shutil.rmtree, self._path(job_id), ignore_errors=True)

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
        for job_id, size in old.items():
            if job_id in remembered and job_id not in needed:
                room -= size
                left += [job_id] if room < 0 else []
        for job_id in left:
            await self.drop(job_id)
        return len(left)

    def _path(self, job_id: str) -> Path:
        return self._folder / _checked(_JOB, job_id)

    def _write(self, job_id: str, pictures: Mapping[str, bytes]) -> None:
        folder = self._path(job_id)
        try:
            for path in (self._folder, folder):  # the mode is for a folder itself, not for those above it
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name, data in pictures.items():
                file = folder / _checked(_NAME, name)  # named by what is in it
                if not file.exists():
                    fresh = file.with_suffix(".part")
                    fresh.write_bytes(data)
                    fresh.replace(file)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull from error
            raise StorageError(f"The job's pictures could not be written: {error}") from error

    def _old(self, before: float) -> dict[str, int]:
        """Bytes by job, the newest first."""
        if not self._folder.exists():
            return {}
        folders = [path for path in self._folder.iterdir() if _JOB.fullmatch(path.name)]
        found = []
        for folder in folders:
            with suppress(FileNotFoundError):
                files = [path.stat().st_size for path in folder.iterdir()]
                found.append((folder.stat().st_mtime, folder.name, sum(files)))
        return {name: size for changed, name, size in sorted(found, reverse=True) if changed < before}


def _checked(pattern: re.Pattern[str], name: str) -> str:
    """The name, which leads nowhere but into the folder."""
    if not pattern.fullmatch(name):
        raise StorageError(f"{name[:100]!r} is no name of a job or a job's picture")
    return name
