"""One backend as the rest of the service uses it: send pictures, run a graph, get the image; cancel, ask, free.

Owns the backend's HTTP session and its websocket. Knows nothing of other backends, of queues or of widgets.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Literal, TypeAlias

from orchestrator.comfy.catalog import Catalog
from orchestrator.comfy.device import Fault
from orchestrator.comfy.editor import Editor
from orchestrator.comfy.execution import Execution, ImageRef, images_of, node_name
from orchestrator.comfy.followed import Followed
from orchestrator.comfy.following import Following, NotBegun, OnProgress
from orchestrator.comfy.graph import Graph
from orchestrator.comfy.listener import Listener
from orchestrator.comfy.placing import Placement, place
from orchestrator.comfy.process import BackendProcess
from orchestrator.comfy.results import Results
from orchestrator.comfy.stats import SystemStats
from orchestrator.comfy.strays import Strays
from orchestrator.comfy.submitting import Submitting
from orchestrator.comfy.supervision import Backoff
from orchestrator.comfy.tally import Tally
from orchestrator.comfy.uploads import Uploads
from orchestrator.comfy.wire import Limits, Upload, Wire
from orchestrator.errors import (
    BackendError,
    BackendLost,
    BackendTimeout,
    DeviceFault,
    ExecutionFailed,
    OutOfMemory,
)

__all__ = ["BackendClient", "Kind", "Limits", "Upload"]

log = logging.getLogger(__name__)

Kind: TypeAlias = Literal["remote", "managed", "embedded"]

_UNSURE_KEPT = 256
_ROOM_SECONDS = 0.5
"""Between the wish that a backend free its memory, which it follows when it is idle, and the next try of a job."""


class BackendClient:
    """One ComfyUI server, or whatever speaks its protocol. Open it with `async with`; the pool does so for its own."""

    def __init__(
        self,
        url: str,
        *,
        name: str,
        headers: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        backoff: Backoff | None = None,
        fetches_models: bool = False,
        kind: Kind = "remote",
        process: BackendProcess | None = None,
        mark: str = "",
    ) -> None:
        """`process` is what runs it, where the service started it; `mark` tells this service's files from another's."""
        self.url = url
        self.kind: Kind = kind
        self.process = process
        self.tally = Tally()
        self.fetches_models = fetches_models
        """True when it does not read the service's own model folder."""
        self.name = name
        self._limits = limits or Limits()
        self._wire = Wire(url, name=name, headers=headers, limits=self._limits)
        self.editor = Editor(self._wire)
        self._uploads = Uploads(self._wire, mark)
        self._results = Results(self._wire)
        self._fault = Fault()
        self._followed = Followed()
        self._listener = Listener(
            url,
            name=name,
            headers=headers,
            connect_seconds=self._limits.connect,
            backoff=backoff or Backoff(),
            on_message=self._followed.hear,
            on_open=self._begin_life,
            until_up=process.until_ready if process else None,
        )
        self._strays = Strays(self._wire, self._limits)
        self._submitting = Submitting(self._wire, self._listener, self._uploads, self._strays, self._limits)
        self._unsure: deque[str] = deque(maxlen=_UNSURE_KEPT)
        """The newest jobs of which it is not known whether and how they ended here."""
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> "BackendClient":
        await self._resources.enter_async_context(self._wire)
        self._resources.push_async_callback(self._strays.aclose)
        self._resources.push_async_callback(self._tidy)
        await self._resources.enter_async_context(self._listener)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._resources.aclose()

    @property
    def connected(self) -> bool:
        """True while the websocket stands."""
        return self._listener.is_open

    async def opened(self) -> None:
        """Waits, without a deadline, until the websocket stands."""
        await self._listener.opened()

    async def closed(self) -> None:
        """Waits, without a deadline, until the websocket is gone."""
        await self._listener.closed()

    async def out_of_use(self) -> str:
        """Waits, without a deadline, until the websocket is gone (the answer is empty) or its device has failed."""
        return await self._fault.or_until(self.closed())

    async def mend(self, seconds: float) -> None:
        """After a fault: has it started anew where that is ours to do, and waits until it is gone or `seconds` over."""
        if self.process is not None:
            self.process.restart(self._fault.reason)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.closed()
        self._fault.clear()

    @property
    def connection_failure(self) -> str:
        """Why it is not connected, as the newest try has shown; empty before one failed."""
        return self._listener.failure

    @property
    def at_work(self) -> tuple[str, ...]:
        """The jobs that it has been seen to work on and whose end is not known yet."""
        return self._followed.begun

    @property
    def waiting(self) -> tuple[str, ...]:
        """The jobs that are on their way there, or in its queue."""
        return self._followed.waiting

    @property
    def drops_results(self) -> bool | None:
        """Whether it deletes the files of results that were collected; None before that was tried."""
        return self._results.can_drop

    async def stats(self) -> SystemStats:
        """Its versions, memory and devices. Raises BackendLost."""
        return SystemStats.of(await self._wire.system_stats())

    async def catalog(self) -> Catalog:
        """What nodes the backend offers now. Raises BackendLost."""
        return Catalog.from_object_info(await self._wire.object_info())

    async def alive(self) -> bool:
        """True when the backend answers at all."""
        try:
            await self._wire.system_stats()
        except BackendError:
            return False
        return True

    async def can_delete_results(self) -> bool:
        """Whether it deletes result files on demand. Raises BackendLost."""
        return await self._wire.drop_results("", ())

    async def can_fetch_models(self) -> bool:
        """Whether it has loaded the pack that fetches models. Raises BackendLost."""
        status, _ = await self._wire.place_model({})
        return status not in (404, 405)

    async def free(self) -> None:
        """Has the backend unload its models. Raises BackendLost."""
        await self._wire.free()

    async def place(self, wanted: Placement, *, deadline: float, tell: Callable[[int], None]) -> None:
        """Has the backend fetch a model unless it has it. Raises BackendError, BackendTimeout or BackendLost."""
        await place(self._wire, self.name, wanted, deadline, tell)

    async def cancel(self, prompt_id: str) -> None:
        """Takes a job out of the queue, or interrupts it if it runs; a job that is neither is left alone.

        Raises BackendLost. A `run` that waits for the job ends with JobInterrupted.
        """
        await self._submitting.cancel(prompt_id, self._followed.get(prompt_id))

    async def withdraw(self, prompt_id: str) -> None:
        """Takes a job that waits there out of the queue; its `run` ends with NotBegun. Any other is left alone.

        Raises BackendLost.
        """
        following = self._followed.get(prompt_id)
        if following is not None and not following.begun:
            await self._submitting.withdraw(following)

    async def run(
        self,
        graph: Graph,
        prompt_id: str,
        output_node: str,
        *,
        deadline: float,
        on_begin: Callable[[], None] = lambda: None,
        on_progress: OnProgress | None = None,
        uploads: Sequence[Upload] = (),
        resume: bool = False,
    ) -> bytes:
        """Runs the graph and returns the first image of `output_node`, the bytes of a file as the backend wrote it.

        `prompt_id` is a UUID of its own for each run; `deadline` is in seconds, from now until the backend begins, and
        again from there; `uploads` are the pictures that the graph refers to, sent if need be; `on_begin` is called
        when the backend is seen to work on the job (twice if it is tried twice), `on_progress` is awaited in this task,
        with the newest progress only. With `resume` nothing is sent: the backend was given the job
        before, and what became of it is found out. A job for which memory did not suffice is tried once more, after
        the backend was told to free its own.

        Raises GraphRejected, ExecutionFailed, InputRefused, JobInterrupted, BackendLost, BackendTimeout, or NotBegun
        when it was withdrawn, or the deadline has passed and other jobs have kept the backend from this one. Whenever
        it ends without knowing the job's end, and when it is cancelled, the job is cancelled at the backend, unless
        `leave` was called.
        """
        with self.tally.counting():
            if not resume:
                await self._submitting.ready()
            async with self._uploads.held(uploads, prompt_id) as files:
                given = graph.renamed(files), prompt_id, output_node, deadline, on_begin, on_progress, tuple(uploads)
                run = partial(self._run, *given)
                try:
                    return await self._with_room(run, prompt_id, resume)
                except DeviceFault as error:
                    self._fault.strike(error.detail)
                    raise

    async def _with_room(self, run: Callable[[bool], Awaitable[bytes]], prompt_id: str, resume: bool) -> bytes:
        try:
            return await run(resume)
        except OutOfMemory as error:
            log.warning('Backend "%s" is told to free its memory: %s', self.name, error.detail)
            await self._wire.free()
            await self._wire.forget(prompt_id)  # the next try has the same id, and must not be taken for this one
            await asyncio.sleep(_ROOM_SECONDS)
            if resume:  # its pictures are not held: it is sent again by whoever leases it next
                raise BackendLost(error.detail) from error
            return await run(False)

    async def _run(
        self,
        graph: Graph,
        prompt_id: str,
        output_node: str,
        deadline: float,
        on_begin: Callable[[], None],
        on_progress: OnProgress | None,
        uploads: Sequence[Upload],
        resume: bool,
    ) -> bytes:
        execution = Execution(prompt_id, graph)
        following = Following(execution, self._wire, self._limits)
        following.again = not resume and prompt_id in self._unsure
        self._followed.add(following)
        try:
            async with asyncio.timeout(deadline) as limit:
                following.on_begin = partial(_begin, limit, deadline, on_begin)
                if resume:
                    following.resume()
                else:
                    await self._submitting.begin(graph, following, uploads)
                entry = await self._to_end(following, on_progress)
                try:
                    images = execution.outcome(entry).images.get(output_node)
                    if not images:
                        what = node_name(graph, output_node, "")
                        raise ExecutionFailed(f"{what}: the job succeeded but left no image here")
                    return await self._collect(images[0])
                finally:
                    self._results.note(prompt_id, (file for found in images_of(entry).values() for file in found))
        except TimeoutError as error:
            if not following.begun:
                raise NotBegun(f'Backend "{self.name}" was busy with other jobs for {deadline:g} s') from error
            raise BackendTimeout(f'Backend "{self.name}" took longer than {deadline:g} s') from error
        finally:
            if following.at_backend:
                self._unsure.append(prompt_id)
            self._followed.drop(following)

    async def _collect(self, image: ImageRef) -> bytes:
        try:
            return await self._wire.view(image)
        except BackendLost:
            # The cache names a file that is gone; with the cache it would be named again at the next try.
            with suppress(BackendError):
                await self._wire.free()
            raise

    def leave(self, prompt_id: str) -> None:
        """Should the `run` of this job be cancelled, the job stays at the backend."""
        self._followed.leave(prompt_id)

    def leave_all(self) -> None:
        """Jobs whose `run` is cancelled from now on stay at the backend: the service is stopping, and comes again."""
        self._followed.leave_all()

    async def _to_end(self, following: Following, on_progress: OnProgress | None) -> object:
        try:
            return await following.to_end(on_progress)
        finally:
            await self._submitting.abandon(following)

    async def _tidy(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.abandon):
                await self._results.aclose()

    def _begin_life(self) -> None:
        # A new socket may be a restarted backend, and whatever was said since the old one broke was not heard.
        self._uploads.forget_all()
        self._results.ask_again()
        self._followed.begin_life()


def _begin(limit: asyncio.Timeout, seconds: float, on_begin: Callable[[], None]) -> None:
    on_begin()
    if not limit.expired():
        limit.reschedule(asyncio.get_running_loop().time() + seconds)
