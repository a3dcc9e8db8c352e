"""What jobs need beside their records: pictures as files, and models that are pinned, fetched if need be.

Kept from a job's acceptance to its end, over a restart of the service too; the pictures longer, so that it can be
opened in the editor as it ran. Joins jobs, models and pictures for the
pipeline. Must not know what a job does with them.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from orchestrator.errors import OrchestratorError, StorageError
from orchestrator.images.inputs import InputFiles
from orchestrator.jobs.engine import JobEngine
from orchestrator.jobs.job import Failed, Fetching, JobSpec, NeededModel
from orchestrator.models.finder import ModelFile, ModelFinder
from orchestrator.telling import TellState, told_by

log = logging.getLogger(__name__)

_YOUNG_SECONDS = 60.0
_AGAIN_SECONDS = 1.0


@dataclass(frozen=True)
class _Pinned:
    files: Sequence[ModelFile]
    pins: ExitStack
    since: float = field(default_factory=time.monotonic)


@dataclass
class _Holding:
    """Requests that are handing in one and the same job."""

    requests: int = 0
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while its pictures are written or dropped."""


class Provisions:
    """For the jobs of `engine`, from `async with` to its end, when downloads stop; the next life goes on with them."""

    def __init__(self, inputs: InputFiles, models: ModelFinder, engine: JobEngine) -> None:
        self._inputs = inputs
        self._models = models
        self._engine = engine
        self._pinned: dict[str, _Pinned] = {}
        self._holding: dict[str, _Holding] = {}
        self._fetches: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        """Pins what the jobs of an earlier life need, and goes on fetching for those that were at that."""
        for job_id in await self._engine.unfinished():
            job = await self._engine.get(job_id)
            if job is not None and not job.has_ended:
                await self._pin(job_id, [self._recalled(model) for model in job.spec.models])
                if isinstance(job.state, Fetching):
                    self.fetch(job.spec)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = tuple(self._fetches.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job_id in tuple(self._pinned):
            self._unpin(job_id)

    @asynccontextmanager
    async def keeping(
        self, job_id: str, pictures: Mapping[str, bytes], files: Sequence[ModelFile]
    ) -> AsyncIterator[bool]:
        """Keeps what the job needs, for a request that hands it to the engine within the block.

        Gives True if all the models are here, else `fetch` is what comes next. When the block fails all is dropped,
        unless the same job is the engine's already, or another request is about to make it so. Raises StorageFull or
        StorageError.
        """
        holding = self._holding.setdefault(job_id, _Holding())
        holding.requests += 1
        try:
            async with holding.writing:
                writing = asyncio.create_task(self._inputs.keep(job_id, pictures))
                try:
                    await self._pin(job_id, files)
                    are_here = await self._models.are_here(files)
                finally:
                    await writing  # in any case: what is dropped must not be written after that
            yield are_here
        except BaseException:
            async with holding.writing:
                with suppress(StorageError):  # then the sweep sees to it
                    known = await self._engine.get(job_id)
                    if known is None and holding.requests == 1:
                        await self.drop(job_id)
            raise
        finally:
            holding.requests -= 1
            if not holding.requests:
                del self._holding[job_id]

    def fetch(self, spec: JobSpec) -> None:
        """Begins to fetch the models of a job, which is queued when they are there, and fails if they cannot be had."""
        task = asyncio.create_task(self._fetch(spec), name=f"models of job {spec.id}")
        self._fetches[spec.id] = task
        task.add_done_callback(lambda _: self._fetches.pop(spec.id, None))

    async def pictures(self, spec: JobSpec) -> Mapping[str, bytes]:
        """The job's pictures, by name. Raises StorageError."""
        return await self._inputs.read(spec.id, spec.inputs)

    async def models(self, spec: JobSpec, tell: TellState) -> Sequence[ModelFile]:
        """The job's models, all of them on the shelf; fetched here only if somebody has deleted one in spite of all.

        Raises a ModelError naming the field, or a StorageError.
        """
        if spec.id not in self._pinned:
            await self._pin(spec.id, [self._recalled(model) for model in spec.models])
        files = self._pinned[spec.id].files
        async with told_by(tell) as hear:
            await self._models.fetch(files, hear)
        return files

    async def end(self, job_id: str) -> None:
        """The job has ended: its fetch stops, its models may go."""
        await self._release(job_id)
        await self._inputs.end(job_id)

    async def drop(self, job_id: str) -> None:
        """The job came to nothing: its pictures are deleted, too."""
        await self._release(job_id)
        await self._inputs.drop(job_id)

    async def _release(self, job_id: str) -> None:
        task = self._fetches.get(job_id)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait({task})
        self._unpin(job_id)

    async def sweep(self) -> None:
        """Lets go of what jobs have left that ended where nobody could, and of what there is no room for."""
        before = time.monotonic() - _YOUNG_SECONDS
        old = {job_id for job_id, pinned in self._pinned.items() if pinned.since < before}
        for job_id in old - await self._engine.unfinished():
            await self.end(job_id)
        await self._inputs.sweep(self._engine.kept, self._engine.unfinished)

    async def _fetch(self, spec: JobSpec) -> None:
        async def tell(state: Fetching) -> None:
            await self._engine.progress(spec, state)

        end = None
        try:
            await self.models(spec, tell)
        except OrchestratorError as error:
            log.warning("job %s failed: %s", spec.id, error.detail, extra={"job": spec.id})
            end = Failed.of(error)
        except Exception:  # the edge of a job: whatever is left is our own fault, and the job must end all the same
            log.exception("job %s failed", spec.id, extra={"job": spec.id})
            end = Failed.unexpected()
        if end is None:
            await _settled(lambda: self._engine.fetched(spec))
        elif await _settled(lambda: self._engine.unfetched(spec, end)):
            await self.end(spec.id)

    async def _pin(self, job_id: str, files: Sequence[ModelFile]) -> None:
        pins = await self._models.pin(files)
        # The same request in the same moment is one job: whoever comes second finds it pinned.
        if job_id in self._pinned:
            pins.close()
        else:
            self._pinned[job_id] = _Pinned(files, pins)

    def _unpin(self, job_id: str) -> None:
        pinned = self._pinned.pop(job_id, None)
        if pinned is not None:
            pinned.pins.close()

    def _recalled(self, model: NeededModel) -> ModelFile:
        return self._models.recall(model.kind, model.name, model.field, model.file, model.family)


async def _settled(tell: Callable[[], Awaitable[bool]]) -> bool:
    """What the engine answers, asked until it can: a job whose fetch is over must not wait for it forever."""
    while True:
        try:
            return await tell()
        except StorageError as error:
            log.error("%s", error.detail)
            await asyncio.sleep(_AGAIN_SECONDS)
