"""Follows one submitted job to its history entry. Messages only wake; the queue and the history are the truth.

An entry in the history ends it, whenever it is seen. Only to find that a job is *gone* do both have to be read, the
queue first: a job that ends between the two reads is then in the history that is read last. Knows nothing of pictures.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from orchestrator.comfy.execution import Execution, Progress
from orchestrator.comfy.messages import Executing, Message
from orchestrator.comfy.wire import Limits, Wire
from orchestrator.errors import BackendLost, JobInterrupted

OnProgress = Callable[[Progress], Awaitable[None]]
_SOON = 0.02
_RETRY = 0.25
_MISSES = 2


class NotBegun(Exception):
    """The backend was busy with other jobs until the deadline, or until the job was `withdrawn`, and has it no more."""

    def __init__(self, text: str, *, withdrawn: bool = False) -> None:
        self.withdrawn = withdrawn
        super().__init__(text)


class Following:
    """One job at one backend, from before it is submitted until it has ended."""

    def __init__(self, execution: Execution, wire: Wire, limits: Limits) -> None:
        self.at_backend = False
        """True while the backend may hold the job: from just before it is submitted until its end is known."""
        self.cancelled = False
        """True when we have asked the backend to drop the job."""
        self.withdrawn = False
        """True when the backend was told to drop the job if it had not begun."""
        self.left = False
        """True when the backend shall keep the job whatever becomes of us."""
        self.again = False
        """True when the backend had the job before and it is not known what became of that."""
        self.begun = False
        """True once the backend was seen to work on the job."""
        self.on_begin: Callable[[], None] | None = None
        """Called once, when the backend is seen to work on the job."""
        self.doubt = ""
        """Why it is not known whether the job was accepted; empty when it was."""
        self.prompt_id = execution.prompt_id
        self._execution = execution
        self._wire = wire
        self._limits = limits
        self._wake = asyncio.Event()
        self._progressed = False
        self._preview: Progress | None = None
        self._next_look = math.inf
        self._pause = limits.poll
        self._missing = 0
        self._silent_since: float | None = None

    def hear(self, message: Message) -> None:
        """One message of this job. Returns at once."""
        self._begin()
        if self._execution.fold(message):
            self._progressed = True
            self._wake.set()
        if isinstance(message, Executing) and message.node is None:
            # Sent after the history is written. Should the entry be late all the same, the next looks follow soon.
            self._pause = _SOON
            self.nudge()

    def _begin(self) -> None:
        self.begun = True
        begin, self.on_begin = self.on_begin, None
        if begin is not None:
            begin()

    def show(self, preview: bytes) -> None:
        """A JPEG of the picture so far; the newest one counts. Returns at once."""
        self._preview, self._progressed = replace(self._execution.progress, preview=preview), True
        self._wake.set()

    def nudge(self) -> None:
        """Something happened at the backend that may have been this job's end."""
        self._next_look = 0.0
        self._wake.set()

    def resume(self) -> None:
        """The backend was given the job by an earlier life of the service."""
        self.at_backend = True
        self.doubt = "The backend no longer knows the job that it had before the service was restarted"

    async def to_end(self, on_progress: OnProgress | None) -> object:
        """The history entry (decoded JSON), which may tell of a failure.

        Raises BackendLost when the job is gone or the backend has not answered for `grace` seconds, JobInterrupted when
        it is gone because we cancelled it, NotBegun because it was withdrawn. Sets no deadline of its own: the caller's
        covers the whole run.
        """
        if self.doubt:
            self.nudge()
        self._next_look = min(self._next_look, time.monotonic() + self._pause)
        while True:
            await self._woken()
            if self._progressed and on_progress is not None:
                self._progressed = False
                preview, self._preview = self._preview, None
                if preview is not None:  # with the node that painted it, which may be done by now
                    await on_progress(preview)
                await on_progress(self._execution.progress)
            if time.monotonic() >= self._next_look:
                seen = await self._look()
                if isinstance(seen, _Ended):
                    self.at_backend = False
                    self._begin()
                    return seen.entry

    async def _woken(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._next_look - time.monotonic())):
                await self._wake.wait()
        self._wake.clear()

    async def _look(self) -> "_Ended | _Waiting | _Missing":
        # The next look is set first, so that a nudge that comes while we are reading makes another one.
        self._next_look = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, self._limits.poll)
        try:
            seen = await self._read()
        except BackendLost:
            self._silent_since = self._silent_since or time.monotonic()
            if time.monotonic() - self._silent_since >= self._limits.grace:
                raise
            self._next_look = min(self._next_look, time.monotonic() + _RETRY)
            return _Waiting()
        self._silent_since = None
        if isinstance(seen, _Missing):
            self._count_missing()
        else:
            self._missing = 0
        return seen

    async def _read(self) -> "_Ended | _Waiting | _Missing":
        # An entry may be of an earlier run of the same job: then the queue is asked first whether this one is over.
        entry = None if self.again else await self._wire.history(self.prompt_id)
        if entry is None:
            queue = await self._wire.queue()
            if self.prompt_id in queue.running and not self.begun:
                # Its messages go to a socket that is gone, or come late: that it runs is worth telling all the same.
                self._begin()
                self._progressed = True
                self._wake.set()
            if self.prompt_id in queue.all:
                return _Waiting()
            entry = await self._wire.history(self.prompt_id)
        return _Missing() if entry is None else _Ended(entry)

    def _count_missing(self) -> None:
        self._missing += 1
        self._next_look = time.monotonic() + _SOON
        if self.cancelled:
            self.at_backend = False
            raise JobInterrupted("The job was cancelled before it ran")
        if self._missing >= _MISSES:
            self.at_backend = False
            if self.withdrawn and not (self.begun or self.doubt):
                raise NotBegun("the backend has not begun it, and another waits for work", withdrawn=True)
            raise BackendLost(
                self.doubt or "The backend no longer knows the job; it was restarted or its queue cleared"
            )


@dataclass(frozen=True)
class _Ended:
    entry: object


@dataclass(frozen=True)
class _Waiting:
    """Runs or waits, or cannot be asked just now."""


@dataclass(frozen=True)
class _Missing:
    """Neither in the queue nor in the history."""
