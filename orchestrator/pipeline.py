"""The story of one request, from a widget's raw values to the link of its image; every detail is one call below.

Joins jobs, widgets, models, images and backends, which do not know one another. Knows nothing of HTTP.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.execution import Progress
from orchestrator.comfy.pool import Lease, Pool
from orchestrator.comfy.wire import Upload
from orchestrator.errors import NoBackend, OrchestratorError, UnknownWidget
from orchestrator.images.encode import CONTENT_TYPES, OutputFormat, to_output
from orchestrator.images.links import LinkSigner
from orchestrator.images.mask import require_latent_mask
from orchestrator.images.source import Picture, PictureSource
from orchestrator.images.store import ImageStore
from orchestrator.images.threads import PictureThreads
from orchestrator.jobs.board import Board
from orchestrator.jobs.job import Failed, Fetching, Job, Queued, Running, Succeeded
from orchestrator.models.finder import ModelFile, ModelFinder
from orchestrator.models.speed import Progress as FetchProgress
from orchestrator.supplying import ModelSupplier
from orchestrator.widgets.compile import ChosenLora, ChosenModels, CompiledGraph, compile_graph
from orchestrator.widgets.values import Values
from orchestrator.widgets.widget import Widget

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WidgetRequest:
    """What a caller posted: the widget's name, its raw values, and the picture format wanted ("jpeg" or "png")."""

    widget: str
    raw: Mapping[str, object]
    output_format: OutputFormat


@dataclass(frozen=True)
class Answer:
    """What a caller gets: the image's link, and what the headers tell."""

    job_id: str
    url: str
    seed: int | None
    ignored: Sequence[str]
    timings: Sequence[tuple[str, float]]


class _Stopwatch:
    """How long each stage took, in seconds, in order."""

    def __init__(self) -> None:
        self.laps: list[tuple[str, float]] = []
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps.append((stage, now - self._last))
        self._last = now


@dataclass(frozen=True)
class Pipeline:
    """Everything that a request passes through, joined once by `app`."""

    widgets: Mapping[str, Widget]
    pictures: PictureSource
    threads: PictureThreads
    models: ModelFinder
    supplier: ModelSupplier
    pool: Pool
    store: ImageStore
    signer: LinkSigner
    board: Board
    deadline_seconds: float

    async def run(self, request: WidgetRequest) -> Answer:
        """One request to its link. Raises an OrchestratorError that says who can mend it; nothing is left behind."""
        watch = _Stopwatch()
        widget = self.widget(request.widget)
        checked = widget.check(request.raw)
        values = checked.values
        self.store.ensure_room()
        if not self.pool.ready:
            raise NoBackend("No backend is connected")
        self.pool.ensure_room()
        watch.lap("check")
        pictures = await self._read_pictures(widget, values)
        watch.lap("pictures")
        files = await self._find_models(widget, values)
        watch.lap("models")
        uploads = {name: Upload(picture.name, picture.png) for name, picture in pictures.items()}
        references = {name: upload.reference for name, upload in uploads.items()}
        compiled = compile_graph(widget, values, _chosen(files, values), references)
        watch.lap("compile")
        with self._job(widget, values, watch) as job:
            async with self._models_held(job, files):
                watch.lap("fetch")
                async with self._lease(compiled) as lease:
                    watch.lap("queue")
                    await self.supplier.supply(lease.backend, files, partial(self._show_fetching, job))
                    rendered = await self._render(job, lease.backend, compiled, tuple(uploads.values()))
            watch.lap("run")
            image = await self.threads.run(to_output, rendered, request.output_format)
            stored = await self.store.put(image, CONTENT_TYPES[request.output_format])
            url = self.signer.url(stored.key, stored.expires_at)
            watch.lap("store")
            self.board.move(job.id, Succeeded(url, stored.expires_at))
        return Answer(job.id, url, values.seed, checked.ignored, tuple(watch.laps))

    def widget(self, name: str) -> Widget:
        """The widget of that name. Raises UnknownWidget."""
        if name not in self.widgets:
            raise UnknownWidget(f"There is no widget {name[:100]!r}; there are: {', '.join(self.widgets)}")
        return self.widgets[name]

    async def _read_pictures(self, widget: Widget, values: Values) -> dict[str, Picture]:
        """Every picture and mask that was given; masks at their picture's size, with something left to repaint."""
        definition = widget.definition
        given = [name for name in definition.pictures if name in values]
        read = await asyncio.gather(*(self.pictures.read(values.picture(name), name) for name in given))
        pictures = dict(zip(given, read, strict=True))
        for name, mask in definition.masks.items():
            if name not in values:
                continue
            picture = pictures[mask.of]
            drawn = await self.pictures.read_mask(values.picture(name), name, (picture.width, picture.height))
            blur = values.integer(mask.blur) if mask.blur else 0
            invert = mask.invert is not None and values.integer(mask.invert) == 1
            await self.threads.run(require_latent_mask, drawn, blur=blur, invert=invert, field=name)
            pictures[name] = drawn
        return pictures

    async def _find_models(self, widget: Widget, values: Values) -> Sequence[ModelFile]:
        """The checkpoint, then the LoRAs in prompt order: all known to fit, none fetched yet."""
        checkpoint = await self.models.checkpoint(values.checkpoint, widget.definition.checkpoint, widget.families)
        field = widget.definition.loras.parameter if widget.definition.loras else widget.definition.checkpoint
        return [checkpoint, *[await self.models.lora(tag.name, field, checkpoint) for tag in values.loras]]

    @asynccontextmanager
    async def _models_held(self, job: Job, files: Sequence[ModelFile]) -> AsyncGenerator[None, None]:
        """The job's models on the shelf until it ends; the board tells how far a missing one has come."""
        async with self.models.hold(files, partial(self._show_fetching, job)):
            self.board.move(job.id, Queued())
            yield

    def _show_fetching(self, job: Job, progress: FetchProgress) -> None:
        told = (progress.model, progress.received, progress.total, progress.rate, progress.seconds_left)
        self.board.move(job.id, Fetching(*told))

    def _lease(self, compiled: CompiledGraph) -> AbstractAsyncContextManager[Lease]:
        return self.pool.lease(compiled.graph.classes, compiled.checkpoint, deadline=self.deadline_seconds)

    @contextmanager
    def _job(self, widget: Widget, values: Values, watch: _Stopwatch) -> Iterator[Job]:
        """A job on the board; however it ends, the board says how, and the log how long it took."""
        job = Job(str(uuid.uuid4()), widget.name, values.seed)
        self.board.open(job)
        try:
            yield job
        except OrchestratorError as error:
            self.board.move(job.id, Failed(error.code, error.detail))
            raise
        finally:
            self.board.close(job.id, tuple(watch.laps))
            stages = ", ".join(f"{stage} {seconds:.3f} s" for stage, seconds in watch.laps)
            log.info("job %s of %s ended: %s", job.id, widget.name, stages)

    async def _render(
        self, job: Job, backend: BackendClient, compiled: CompiledGraph, uploads: Sequence[Upload]
    ) -> bytes:
        """The image's PNG, as the backend made it."""

        def show(progress: Progress) -> None:
            self.board.move(job.id, Running(backend.name, progress.node_title, progress.step, progress.steps))

        self.board.move(job.id, Running(backend.name))
        return await backend.run(
            compiled.graph,
            job.id,
            compiled.output_node,
            deadline=self.deadline_seconds,
            on_progress=show,
            uploads=uploads,
        )


def _chosen(files: Sequence[ModelFile], values: Values) -> ChosenModels:
    checkpoint, *loras = files
    weighted = zip(loras, values.loras, strict=True)
    chosen = tuple(ChosenLora(lora.file, tag.text_encoder, tag.unet) for lora, tag in weighted)
    return ChosenModels(checkpoint.file, checkpoint.family, chosen, checkpoint.channels)
