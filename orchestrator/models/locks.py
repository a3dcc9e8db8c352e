"""Locks that hold between processes and end with them: `flock` on files that are never deleted.

A killed process leaves no lock behind, whatever it was doing. `exclusive` blocks its thread, the others do not. Knows
nothing of models.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self


class FileLock:
    """A lock that is held until `close` or the end of a `with` block."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def try_shared(cls, path: Path) -> Self | None:
        """None if somebody holds it exclusively."""
        try:
            return cls(_locked(path, fcntl.LOCK_SH | fcntl.LOCK_NB))
        except BlockingIOError:
            return None

    @classmethod
    def exclusive(cls, path: Path) -> Self:
        """Waits until nobody else holds it."""
        return cls(_locked(path, fcntl.LOCK_EX))

    @classmethod
    def try_exclusive(cls, path: Path) -> Self | None:
        """None if somebody else holds it."""
        try:
            return cls(_locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB))
        except BlockingIOError:
            return None

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _locked(path: Path, how: int) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, how)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
