"""The story of one request, from a widget's raw values to its image; every detail is one call below.

Two halves, with the kept job between them, so that either may end and begin again without the other: `Reception` takes
a request in and waits for its end, `Work` does what a lease is for. Joins jobs, widgets, models, images and backends,
which do not know one another. Knows nothing of HTTP.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from functools import partial

from orchestrator.allowance import require_steps_and_canvas
from orchestrator.callers.caller import ANYBODY, Caller
from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.following import NotBegun
from orchestrator.comfy.pool import Pool
from orchestrator.comfy.wire import Upload
from orchestrator.errors import (
    BackendLost,
    JobCancelled,
    JobNotFound,
    JobUnfinished,
    KeyReused,
    OrchestratorError,
    StorageError,
    UnknownWidget,
)
from orchestrator.images.encode import CONTENT_TYPES, OutputFormat, to_output
from orchestrator.images.source import Picture, PictureSource
from orchestrator.images.store import ImageStore, StoredImage, new_name
from orchestrator.images.threads import PictureThreads
from orchestrator.jobs.engine import Cancellation, JobEngine, Lease, Retry
from orchestrator.jobs.job import Cancelled, Ended, Failed, Job, JobSpec, NeededModel, Succeeded
from orchestrator.materials import obtain
from orchestrator.models.finder import ModelFile, ModelFinder
from orchestrator.provisions import Provisions
from orchestrator.rendering import Stopped, render
from orchestrator.stopwatch import Passed, Stopwatch
from orchestrator.supplying import ModelSupplier
from orchestrator.widgets.compile import ChosenLora, ChosenModels, CompiledGraph, compile_graph
from orchestrator.widgets.values import Checked, Values
from orchestrator.widgets.widget import Widget

log = logging.getLogger(__name__)

_FIRST_RETRY = 0.5
"""Seconds before a lost job runs again; four times as long before the next."""


@dataclass(frozen=True)
class WidgetRequest:
    """What a caller posted: the widget's name, its raw values, and the picture format wanted ("jpeg" or "png")."""

    widget: str
    raw: Mapping[str, object]
    output_format: OutputFormat
    job_id: str
    """A fresh UUID; or one that follows from the caller's idempotency key, with the request's `fingerprint`."""
    fingerprint: str = ""
    priority: int = 1
    caller: Caller = ANYBODY
    webhook: str = ""
    """Where the job's end is to be told; empty for nowhere."""


@dataclass(frozen=True)
class Kept:
    """A job that is kept: its id, and whether this request brought it about or found it."""

    id: str
    anew: bool


@dataclass(frozen=True)
class Limits:
    """Seconds: how long a job may run at a backend, and how long it may wait for one."""

    run: float
    wait: float


@dataclass(frozen=True)
class Reception:
    """The way in, and the wait: everything that a request passes through before its job is kept."""

    widgets: Mapping[str, Widget]
    pictures: PictureSource
    models: ModelFinder
    pool: Pool
    store: ImageStore
    provisions: Provisions
    engine: JobEngine
    limits: Limits
    passed: Passed = lambda *_: None

    async def submit(self, request: WidgetRequest) -> Kept:
        """One request to a job that is kept. From here on it ends in one true state, whatever dies.

        Raises an OrchestratorError that says who can mend it; nothing is left behind.
        """
        if request.fingerprint and await self._is_known(request):
            return Kept(request.job_id, anew=False)
        watch = Stopwatch(partial(self.passed, request.job_id))
        widget = self.widget(request.widget)
        checked = widget.check(request.raw)
        values = checked.values
        require_steps_and_canvas(widget, values, request.caller.limits)
        self.store.ensure_room()
        self.pool.require_ready()
        self.pool.require(widget.graph.classes)
        self.engine.ensure_room()
        await self.engine.ensure_share(request.caller.id, request.caller.limits.jobs)
        watch.lap("check")
        materials = await obtain(self.pictures, self.models, widget, values, request.caller.limits, watch)
        pictures, files = materials.pictures, materials.files
        references = {name: _upload(picture).reference for name, picture in pictures.items()}
        compiled = compile_graph(widget, values, _chosen(files, values), references)
        self.pool.require(compiled.graph.classes)
        watch.lap("compile")
        kept = {picture.name: picture.png for picture in pictures.values()}
        async with self.provisions.keeping(request.job_id, kept, files) as here:
            watch.lap("keep")
            spec = replace(
                self._spec(request, checked, compiled), inputs=tuple(kept), models=_needed(files), timings=watch.laps
            )
            return Kept(spec.id, await self._keep(spec, fetching=not here, at_once=request.caller.limits.jobs))

    async def ended(self, job_id: str, seconds: float) -> Job:
        """The job that succeeded, as soon as it has. Raises the error that it ended with, JobUnfinished when it goes on
        after so many seconds, JobCancelled or JobNotFound."""
        try:
            async with asyncio.timeout(seconds), aclosing(self.engine.events(job_id)) as events:
                async for event in events:
                    if isinstance(event.happening, Ended):
                        break
        except TimeoutError as error:
            raise JobUnfinished(job_id) from error
        job = await self.job(job_id)
        match job.state:
            case Failed():
                raise job.state.error
            case Cancelled():
                raise JobCancelled
        return job

    async def job(self, job_id: str) -> Job:
        """The job as it stands. Raises JobNotFound."""
        job = await self.engine.get(job_id)
        if job is None:
            raise JobNotFound
        return job

    async def cancel(self, job_id: str) -> Cancellation:
        """Cancels this job and no other. Raises JobNotFound."""
        cancellation = await self.engine.cancel(job_id)
        if cancellation is None:
            raise JobNotFound
        if cancellation is Cancellation.DONE:
            await self.provisions.end(job_id)
            # An earlier life of the service may have got as far as keeping it and no further.
            with suppress(StorageError):  # it expires by itself
                if (job := await self.engine.get(job_id)) is not None:
                    await self.store.drop(job.spec.image)
        return cancellation

    async def _is_known(self, request: WidgetRequest) -> bool:
        """True when this very request came before. Raises KeyReused when another came with its key."""
        job = await self.engine.get(request.job_id)
        if job is not None and job.spec.fingerprint != request.fingerprint:
            raise KeyReused
        return job is not None

    def _spec(self, request: WidgetRequest, checked: Checked, compiled: CompiledGraph) -> JobSpec:
        return JobSpec(
            id=request.job_id,
            widget=request.widget,
            seed=checked.values.seed,
            graph=compiled.graph.to_api(),
            output_node=compiled.output_node,
            workflow=json.dumps(compiled.workflow, separators=(",", ":")),
            output_format=request.output_format,
            model=compiled.checkpoint,
            texts=compiled.texts,
            classes=compiled.graph.classes,
            created=time.time(),
            deadline=self.limits.run,
            patience=self.limits.wait,
            image=new_name(),
            ignored=checked.ignored,
            priority=request.priority,
            owner=request.caller.id,
            webhook=request.webhook,
            fingerprint=request.fingerprint,
        )

    async def _keep(self, spec: JobSpec, *, fetching: bool, at_once: int | None) -> bool:
        """Hands the job to the engine: queued, or after its models have been fetched. The same request in the same
        moment is one job, whoever comes first; False for who comes later."""
        accepted = await self.engine.submit(spec, fetching=fetching, at_once=at_once)
        if not accepted:
            job = await self.job(spec.id)
            if job.spec.fingerprint != spec.fingerprint:
                raise KeyReused
            if job.has_ended:
                await self.provisions.end(spec.id)
        elif fetching:
            self.provisions.fetch(spec)
        return accepted

    def widget(self, name: str) -> Widget:
        """The widget of that name. Raises UnknownWidget."""
        if name not in self.widgets:
            raise UnknownWidget(f"There is no widget {name[:100]!r}; there are: {', '.join(self.widgets)}")
        return self.widgets[name]


@dataclass(frozen=True)
class Work:
    """The other half: a leased job, from its pictures to its kept image, and what becomes of it if that fails."""

    provisions: Provisions
    supplier: ModelSupplier
    threads: PictureThreads
    store: ImageStore
    passed: Passed = lambda *_: None
    png_workflow: bool = True
    """Whether a PNG says how it was made, for ComfyUI's editor to open."""

    async def do(self, lease: Lease, backend: BackendClient, leave: Callable[[], None]) -> bool:
        """Runs the job and hands it back, ended or to be run again. Raises StorageError when that cannot be written.
        False when the backend has not begun it.

        `leave` is called as soon as the backend is done with the job: what is left is no reason to keep it waiting.

        When this is cancelled the job is not handed back: it stays leased, and at its backend, for the next life of the
        service.
        """
        spec = lease.spec
        watch = Stopwatch(partial(self.passed, spec.id))
        if lease.fetched is not None:
            (watch.note if lease.first else watch.recall)("fetch", lease.fetched)
        if lease.resumed and lease.may_have_begun:
            watch.recall("queue", lease.waited)
        try:
            stored = await self._tried(lease, backend, watch, leave)
        except Stopped:
            over = await lease.stopped(watch.laps)
        except NotBegun as error:
            log.info("job %s goes back to the queue: %s", spec.id, error)
            await lease.put_back(begun=error.withdrawn)  # whose patience another backend is not to find at an end
            return False
        except BackendLost as error:
            if not lease.may_have_begun:  # it only waited there, perhaps for the one that took the backend down
                log.info('job %s goes back to the queue, backend "%s" had not begun it', spec.id, backend.name)
                await lease.put_back(delay=_FIRST_RETRY, forgiven=True)
                return False
            over = await self._lost(lease, backend, error)
        except OrchestratorError as error:
            log.warning("job %s failed: %s", spec.id, error.detail)
            over = await lease.failed(Failed.of(error), watch.laps)
        except Exception:  # the edge of a job: whatever is left is our own fault, and the job must end all the same
            log.exception("job %s failed", spec.id)
            over = await lease.failed(Failed.unexpected(), watch.laps)
        else:
            watch.lap("store")
            over = await lease.done(Succeeded(stored.key, stored.expires_at), watch.laps)
        if over:
            await self.provisions.end(spec.id)
            stages = ", ".join(f"{stage} {seconds:.3f} s" for stage, seconds in spec.timings + watch.laps)
            log.info("job %s of %s ended: %s", spec.id, spec.widget, stages)
        return True

    async def _lost(self, lease: Lease, backend: BackendClient, error: BackendLost) -> bool:
        """Hands a lost job back; True when it has ended with that."""
        log.warning('job %s was lost at backend "%s": %s', lease.spec.id, backend.name, error.detail)
        # Not at once: what struck it here may strike again, and another backend may be free by then.
        delay = _FIRST_RETRY * 4 ** (lease.attempt - 1)
        return await lease.retry(Failed.of(error), delay) is Retry.ENDED

    async def _tried(
        self, lease: Lease, backend: BackendClient, watch: Stopwatch, leave: Callable[[], None]
    ) -> StoredImage:
        """The image. However it ends, the job's wait is over: it lasts until the backend begins it, once a try."""

        def end_wait() -> None:
            if not watch.has("queue"):
                watch.lap("queue", before=lease.waited)

        def begin() -> None:
            lease.begin()
            end_wait()

        try:
            stored = await self._stored_before(lease) or await self._make(lease, backend, watch, begin, leave)
        except (Stopped, NotBegun, OrchestratorError):
            end_wait()
            raise
        end_wait()
        return stored

    async def _stored_before(self, lease: Lease) -> StoredImage | None:
        """The image, if an earlier life got as far as keeping it and no further."""
        return None if lease.first else await self.store.find(lease.spec.image)

    async def _make(
        self,
        lease: Lease,
        backend: BackendClient,
        watch: Stopwatch,
        begin: Callable[[], None],
        leave: Callable[[], None],
    ) -> StoredImage:
        spec = lease.spec
        rendered = await render(lease, backend, self.provisions, self.supplier, begin)
        begin()  # where it was so quick, or collected so late, that it was not seen to begin
        leave()
        watch.lap("run")
        texts = _as_it_ran(spec) if self.png_workflow and spec.output_format == "png" else {}
        image = await self.threads.run(to_output, rendered, spec.output_format, texts)
        return await self.store.put(image, CONTENT_TYPES[spec.output_format], spec.image)


def _chosen(files: Sequence[ModelFile], values: Values) -> ChosenModels:
    checkpoint, *loras = files
    weighted = zip(loras, values.loras, strict=True)
    chosen = tuple(ChosenLora(lora.file, tag.text_encoder, tag.unet) for lora, tag in weighted)
    return ChosenModels(checkpoint.file, checkpoint.family, chosen, checkpoint.channels)


def _as_it_ran(spec: JobSpec) -> dict[str, str]:
    """What the editor looks for in a PNG that is dropped on it."""
    return {"prompt": json.dumps(spec.graph)} | ({"workflow": spec.workflow} if spec.workflow else {})


def _needed(files: Sequence[ModelFile]) -> tuple[NeededModel, ...]:
    return tuple(NeededModel(file.place.kind, file.name, file.field, file.file, file.family) for file in files)


def _upload(picture: Picture) -> Upload:
    return Upload(picture.name, picture.png)
