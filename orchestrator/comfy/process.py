"""A backend as a child process: started, read, probed, started again when it dies or is silent, stopped with us.

Knows nothing of what the program is; the probe and the command line are handed in.
"""

import asyncio
import logging
import os
import re
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from orchestrator.comfy.loglines import level_of
from orchestrator.comfy.supervision import Backoff, keep_running
from orchestrator.errors import BackendLost

_LINE_END = re.compile(rb"[\r\n]+")
_LONGEST_LINE = 8192
_NO_FAILURE = "see its log"


class BackendProcess:
    """One child that is kept running while the `async with` block lasts.

    `ready` is asked every `probe_seconds` after a start and answers whether the backend can take a job; when it has not
    within `start_deadline` seconds, the child is stopped and started again. From then on it is asked every
    `watch_seconds`, and started again when it has not answered for `silence` seconds. Its output goes to the log
    `orchestrator.backend.<name>`, a line a record, as grave as it sounds. Stopping is SIGTERM to the child's process
    group, and SIGKILL after `stop_deadline` seconds. `before` is called before each start, in a thread. With `port`, on
    which the child will listen on 127.0.0.1, it is not started while somebody else does, whom the probe would believe.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        ready: Callable[[], Awaitable[bool]],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        start_deadline: float = 60.0,
        stop_deadline: float = 5.0,
        probe_seconds: float = 0.1,
        watch_seconds: float = 5.0,
        silence: float = 120.0,
        backoff: Backoff | None = None,
        before: Callable[[], None] | None = None,
        port: int | None = None,
    ) -> None:
        self.name = name
        self._argv = tuple(argv)
        self._ready = ready
        self._env = dict(env) if env is not None else None
        self._cwd = cwd
        self._start_deadline = start_deadline
        self._stop_deadline = stop_deadline
        self._probe_seconds = probe_seconds
        self._watch_seconds = watch_seconds
        self._silence = silence
        self._before = before
        self._port = port
        self._backoff = backoff or Backoff(first=0.5, limit=30.0, calm=60.0)
        self._log = logging.getLogger(f"orchestrator.backend.{name}")
        self._is_ready = asyncio.Event()
        self._unwanted = asyncio.Event()
        self._unwanted_for = ""
        self._task: asyncio.Task[None] | None = None
        self._pid: int | None = None
        self._starts = 0
        self._ready_since: float | None = None
        self._failure = _NO_FAILURE

    async def __aenter__(self) -> "BackendProcess":
        self._task = asyncio.create_task(
            keep_running(f'Process of backend "{self.name}"', self._live, self._backoff), name=f"process {self.name}"
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._task = None

    @property
    def pid(self) -> int | None:
        """The running child's, None between two lives."""
        return self._pid

    @property
    def starts(self) -> int:
        """How often the child has been started."""
        return self._starts

    @property
    def is_ready(self) -> bool:
        """True from the first good answer of the probe until the child ends."""
        return self._is_ready.is_set()

    @property
    def ready_since(self) -> float | None:
        """When this life of the child became ready, in seconds since the epoch; None while it is not."""
        return self._ready_since

    @property
    def failure(self) -> str:
        """Why the last life of the child ended; empty before one has."""
        return "" if self._failure == _NO_FAILURE else self._failure

    def restart(self, reason: str) -> None:
        """Has the child stopped and started again, whatever it is at."""
        self._unwanted_for = reason
        self._unwanted.set()

    async def until_ready(self) -> None:
        """Waits, without a deadline, until the child is ready."""
        await self._is_ready.wait()

    async def started(self, deadline: float | None = None) -> None:
        """Waits until the child is ready. Raises BackendLost after `deadline` seconds (default: the start deadline)."""
        seconds = self._start_deadline if deadline is None else deadline
        try:
            async with asyncio.timeout(seconds):
                await self._is_ready.wait()
        except TimeoutError as error:
            raise BackendLost(f'Backend "{self.name}" was not ready after {seconds:g} s: {self._failure}') from error

    async def _live(self) -> None:
        self._require_port()
        if self._before is not None:
            await asyncio.to_thread(self._before)
        self._unwanted.clear()
        child = await self._start()
        pump = asyncio.create_task(self._pump(child), name=f"output {self.name}")
        try:
            await self._until_ready(child)
            self._ready_since = time.time()
            self._is_ready.set()
            raise BackendLost(await self._until_over(child))
        except BackendLost as error:
            self._failure = str(error)
            raise
        finally:
            self._is_ready.clear()
            self._ready_since = None
            await _whole(self._end(child, pump))

    def _require_port(self) -> None:
        if self._port is None:
            return
        try:
            socket.create_server(("127.0.0.1", self._port)).close()
        except OSError as error:
            self._failure = f"127.0.0.1 port {self._port} cannot be had: {error.strerror or error}"
            raise BackendLost(self._failure) from error

    async def _until_over(self, child: asyncio.subprocess.Process) -> str:
        """Why the child's life is over, as soon as it is."""
        ended = asyncio.ensure_future(child.wait())
        silent = asyncio.ensure_future(self._until_silent())
        unwanted = asyncio.ensure_future(self._unwanted.wait())
        tasks: set[asyncio.Future[Any]] = {ended, silent, unwanted}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if not ended.cancelled():
            return f"the process ended with code {ended.result()}"
        if not unwanted.cancelled():
            return f"the process is started anew: {self._unwanted_for}"
        return f"the process has not answered for {self._silence:g} s and is started anew"

    async def _until_silent(self) -> None:
        answered = time.monotonic()
        while time.monotonic() - answered < self._silence:
            await asyncio.sleep(self._watch_seconds)
            asked = time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._silence):
                    if await self._ready():
                        answered = asked

    async def _end(self, child: asyncio.subprocess.Process, pump: asyncio.Task[None]) -> None:
        await self._stop(child)
        self._pid = None
        await asyncio.wait({pump}, timeout=1.0)
        pump.cancel()

    async def _start(self) -> asyncio.subprocess.Process:
        making = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *self._argv,
                env=self._env,
                cwd=self._cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        )
        try:
            child = await asyncio.shield(making)
        except asyncio.CancelledError:
            # asyncio leaks the pipes of a child whose making is cancelled; it takes milliseconds, so let it be made.
            await self._stop(await making)
            raise
        self._starts += 1
        self._pid = child.pid
        self._log.info("started as process %d", child.pid)
        return child

    async def _until_ready(self, child: asyncio.subprocess.Process) -> None:
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._start_deadline):
                while not await self._ready() or child.returncode is not None:
                    if child.returncode is not None:
                        raise BackendLost(f"the process ended with code {child.returncode} before it was ready")
                    await asyncio.sleep(self._probe_seconds)
        except TimeoutError as error:
            raise BackendLost(f"the process was not ready after {self._start_deadline:g} s") from error
        self._log.info("ready after %.1f s", time.monotonic() - started)

    async def _stop(self, child: asyncio.subprocess.Process) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if child.returncode is not None:
                return
            # The group, so that what the child started ends with it.
            with suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._stop_deadline):
                    await child.wait()

    async def _pump(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdout is not None
        rest = b""
        while chunk := await child.stdout.read(65536):
            # Progress bars end their lines with a carriage return, and some with nothing for a long time.
            *lines, rest = _LINE_END.split(rest + chunk)
            if len(rest) > _LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._tell(line)
        self._tell(rest)

    def _tell(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if text:
            self._log.log(level_of(text), "%s", text[:_LONGEST_LINE])


async def _whole(work: Coroutine[None, None, None]) -> None:
    """Awaits `work` to its end also when cancelled in the middle: a child half stopped would outlive us."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
