"""One backend as the rest of the service uses it: send pictures, run a graph, get the image; cancel, ask, free.

Owns the backend's HTTP session and its websocket. Knows nothing of other backends, of queues or of widgets.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from types import TracebackType

from orchestrator.comfy.catalog import Catalog
from orchestrator.comfy.editor import Editor
from orchestrator.comfy.execution import Execution, node_name
from orchestrator.comfy.following import Following, OnProgress
from orchestrator.comfy.graph import Graph
from orchestrator.comfy.listener import Listener
from orchestrator.comfy.messages import Message, PreviewFrame, Status, Unknown
from orchestrator.comfy.placing import Placement, place
from orchestrator.comfy.rejection import explain, names_file
from orchestrator.comfy.supervision import Backoff
from orchestrator.comfy.uploads import Uploads
from orchestrator.comfy.wire import Accepted, Doubtful, Limits, Refused, Upload, Wire
from orchestrator.errors import BackendError, BackendLost, BackendTimeout, ExecutionFailed, GraphRejected

__all__ = ["BackendClient", "Limits", "Upload"]

log = logging.getLogger(__name__)


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
    ) -> None:
        self.url = url
        self.fetches_models = fetches_models
        """True when it does not read the service's own model folder."""
        self.name = name
        self._limits = limits or Limits()
        self._wire = Wire(url, name=name, headers=headers, limits=self._limits)
        self._uploads = Uploads(self._wire)
        self.editor = Editor(self._wire)
        self._followed: dict[str, Following] = {}
        self._leaving = False
        self._queue_remaining: int | None = None
        self._listener = Listener(
            url,
            name=name,
            headers=headers,
            connect_seconds=self._limits.connect,
            backoff=backoff or Backoff(),
            on_message=self._hear,
            on_open=self._begin_life,
        )
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> "BackendClient":
        await self._resources.enter_async_context(self._wire)
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

    async def free(self) -> None:
        """Has the backend unload its models. Raises BackendLost."""
        await self._wire.free()

    async def upload(self, picture: Upload) -> None:
        """Sends a picture unless the backend has it already. Raises BackendLost or GraphRejected."""
        await self._uploads.ensure(picture)

    async def place(self, wanted: Placement, *, deadline: float, tell: Callable[[int], None]) -> None:
        """Has the backend fetch a model unless it has it. Raises BackendError, BackendTimeout or BackendLost."""
        await place(self._wire, self.name, wanted, deadline, tell)

    async def cancel(self, prompt_id: str) -> None:
        """Takes a job out of the queue, or interrupts it if it runs; a job that is neither is left alone.

        Raises BackendLost. A `run` that waits for the job ends with JobInterrupted.
        """
        following = self._followed.get(prompt_id)
        if following is not None:
            following.cancelled = True
        await self._wire.delete_queued(prompt_id)
        await self._wire.interrupt(prompt_id)
        if following is not None:
            following.nudge()

    async def run(
        self,
        graph: Graph,
        prompt_id: str,
        output_node: str,
        *,
        deadline: float,
        on_progress: OnProgress | None = None,
        uploads: Sequence[Upload] = (),
        resume: bool = False,
    ) -> bytes:
        """Runs the graph and returns the first image of `output_node`, the bytes of a file as the backend wrote it.

        `prompt_id` is a UUID of its own for each run; `deadline` is in seconds, from now until the backend begins, and
        again from there; `uploads` are the pictures that the graph refers to, sent if need be; `on_progress` is awaited
        in this task, with the newest progress only. With `resume` nothing is sent: the backend was given the job
        before, and what became of it is found out.

        Raises GraphRejected, ExecutionFailed, JobInterrupted, BackendLost or BackendTimeout. Whenever it ends without
        knowing the job's end, and when it is cancelled, the job is cancelled at the backend, unless `leave` was called.
        """
        execution = Execution(prompt_id, graph)
        following = self._followed[prompt_id] = Following(execution, self._wire, self._limits)
        try:
            async with asyncio.timeout(deadline) as limit:
                following.on_begin = partial(_set_back, limit, deadline)
                if resume:
                    following.resume()
                else:
                    await self._begin(graph, following, uploads)
                entry = await self._to_end(following, on_progress)
                images = execution.outcome(entry).images.get(output_node)
                if not images:
                    what = node_name(graph, output_node, "")
                    raise ExecutionFailed(f"{what}: the job succeeded but left no image here")
                return await self._wire.view(images[0])
        except TimeoutError as error:
            raise BackendTimeout(f'Backend "{self.name}" took longer than {deadline:g} s') from error
        finally:
            del self._followed[prompt_id]

    def leave(self, prompt_id: str) -> None:
        """Should the `run` of this job be cancelled, the job stays at the backend."""
        following = self._followed.get(prompt_id)
        if following is not None:
            following.left = True

    def leave_all(self) -> None:
        """Jobs whose `run` is cancelled from now on stay at the backend: the service is stopping, and comes again."""
        self._leaving = True

    async def _begin(self, graph: Graph, following: Following, uploads: Sequence[Upload]) -> None:
        try:
            await self._submit(graph, following, uploads)
        except BaseException:
            await self._abandon(following)
            raise

    async def _to_end(self, following: Following, on_progress: OnProgress | None) -> object:
        try:
            return await following.to_end(on_progress)
        finally:
            await self._abandon(following)

    async def _submit(self, graph: Graph, following: Following, uploads: Sequence[Upload]) -> None:
        with suppress(TimeoutError):
            # A socket that is just being opened is worth a moment: without it there is no progress to see.
            async with asyncio.timeout(self._limits.connect):
                await self._listener.tried()
        await self._send(uploads)
        prompt = graph.to_api()
        answer = await self._post(prompt, following)
        if isinstance(answer, Refused) and names_file(answer.body, frozenset(picture.name for picture in uploads)):
            self._uploads.forget(picture.name for picture in uploads)
            await self._send(uploads)
            answer = await self._post(prompt, following)
        match answer:
            case Refused(body):
                raise GraphRejected(explain(graph, body))
            case Doubtful(reason):
                following.doubt = reason

    async def _send(self, uploads: Sequence[Upload]) -> None:
        await asyncio.gather(*(self._uploads.ensure(picture) for picture in uploads))

    async def _post(self, prompt: Mapping[str, object], following: Following) -> Accepted | Refused | Doubtful:
        following.at_backend = True
        posting = asyncio.create_task(self._wire.submit(prompt, following.prompt_id, self._listener.client_id))
        try:
            answer = await asyncio.shield(posting)
        except asyncio.CancelledError:
            # A request that is cut off may still be acted on, after our cancelling: let it arrive first.
            await asyncio.wait({posting}, timeout=self._limits.abandon)
            if not posting.cancel() and not posting.cancelled():
                posting.exception()
            raise
        except BackendLost:
            following.at_backend = False
            raise
        following.at_backend = not isinstance(answer, Refused)
        return answer

    async def _abandon(self, following: Following) -> None:
        """Has the backend drop the job, where it may still have it."""
        if not following.at_backend or following.left or self._leaving:
            return
        try:
            async with asyncio.timeout(self._limits.abandon):
                await self.cancel(following.prompt_id)
        except (BackendError, TimeoutError) as error:
            log.warning('Job %s may still run at backend "%s": %s', following.prompt_id, self.name, error)

    def _begin_life(self) -> None:
        # A new socket may be a restarted backend, and whatever was said since the old one broke was not heard.
        self._uploads.forget_all()
        self._queue_remaining = None
        self._nudge_all()

    def _hear(self, message: Message | PreviewFrame) -> None:
        match message:
            case Status(remaining):
                # The count falls when a job ends, whoever's it was, and after its history is written.
                if self._queue_remaining is None or remaining < self._queue_remaining:
                    self._nudge_all()
                self._queue_remaining = remaining
            case PreviewFrame() | Unknown():
                pass
            case _:
                following = self._followed.get(message.prompt_id or "")
                if following is not None:
                    following.hear(message)

    def _nudge_all(self) -> None:
        for following in self._followed.values():
            following.nudge()


def _set_back(limit: asyncio.Timeout, seconds: float) -> None:
    if not limit.expired():
        limit.reschedule(asyncio.get_running_loop().time() + seconds)
