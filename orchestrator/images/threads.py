"""The bounded thread pool in which every picture is decoded, encoded and measured.

Pillow, zlib and numpy let go of the GIL while they work, so threads are enough to keep the event loop free as long as
no single call holds the GIL for long: the modules that run here cut base64, copies and PNG encoding into bands (see
`inline`, `png`), and hand the two decoders that hold the GIL for a whole picture to a child process (see `apart`). Must
not know what runs in it.
"""

import asyncio
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class PictureThreads:
    """Owns `workers` threads from `async with` to its end; more work than that waits in line.

    `deadline` (seconds) bounds the wait for one call, in line and running; past it `run` raises TimeoutError and the
    thread finishes unheeded, because a thread can't be stopped.
    """

    def __init__(self, workers: int = 2, *, deadline: float = 120.0) -> None:
        self._workers = workers
        self._deadline = deadline
        self._executor: ThreadPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        # Pillow warns about what callers send (bombs, damaged EXIF). We answer the caller instead. Once for the process
        # and not around each decode, because warnings.catch_warnings is not safe with threads.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix="picture")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            await asyncio.to_thread(executor.shutdown, cancel_futures=True)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `function(*args, **kwargs)` in one of the threads; raises what it raises, or TimeoutError."""
        assert self._executor is not None, "PictureThreads is used outside its `async with`"
        future = self._executor.submit(function, *args, **kwargs)
        async with asyncio.timeout(self._deadline):
            return await asyncio.wrap_future(future)
