"""Makes every part of the service and joins them. Each resource is opened and closed here, in order."""

import asyncio
import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from aiohttp import web

from orchestrator.agents import Agents
from orchestrator.api.admission import Admission
from orchestrator.api.idempotency import RequestKeys
from orchestrator.api.keys import ADMISSION, ENGINE, OUTPUT_FORMAT, POOL, RECEPTION, REQUEST_KEYS, SIGNER, STORE, WAIT
from orchestrator.api.problems import problems
from orchestrator.api.routes import ROUTES
from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.known import known_catalog
from orchestrator.comfy.pool import Pool
from orchestrator.comfy.process import BackendProcess
from orchestrator.comfy.supervision import Backoff, keep_running
from orchestrator.images.inputs import InputFiles
from orchestrator.images.links import LinkSigner, secret_file
from orchestrator.images.source import PictureSource
from orchestrator.images.store import ImageStore
from orchestrator.images.threads import PictureThreads
from orchestrator.jobs.sqlite import Dials, SqliteEngine
from orchestrator.models.shelf import Shelf
from orchestrator.pipeline import Limits, Reception, Work
from orchestrator.settings import Settings
from orchestrator.widgets import library
from orchestrator.widgets.widget import Widget

log = logging.getLogger(__name__)

_EMBEDDED_START = 180.0
"""Seconds; the first start writes the demo model's files."""
_SWEEP = 60.0
_ADOPTION = 60.0
"""Seconds after a start in which a job that was at a backend is left to that backend, should it come back."""


def load_widgets(settings: Settings) -> Mapping[str, Widget]:
    """Every widget, audited against the nodes that are known. Raises WorkflowError."""
    return library.load(settings.workflows, known_catalog())


def create_app(settings: Settings) -> web.Application:
    """The service as an aiohttp application; `settings.public_url` is what links begin with.

    Raises WorkflowError and SettingsError here, before anything listens.
    """
    widgets = load_widgets(settings)
    app = web.Application(middlewares=[problems], client_max_size=settings.body_mb * 1_000_000)
    app.add_routes(ROUTES)

    async def parts(app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as resources:
            await _join(app, settings, widgets, resources)
            yield

    app.cleanup_ctx.append(parts)
    return app


async def _join(
    app: web.Application, settings: Settings, widgets: Mapping[str, Widget], resources: AsyncExitStack
) -> None:
    """Opens every part, each on the ones before it, and puts those that handlers reach into the application."""
    open_part = resources.enter_async_context
    threads = await open_part(PictureThreads())
    pictures = await open_part(_picture_source(settings, threads))
    store = await open_part(_image_store(settings))
    inputs = InputFiles(settings.data / "inputs")
    engine = await open_part(_engine(settings))
    await engine.adopt(_ADOPTION)
    await open_part(_sweeping(inputs, engine))
    backends = await _backends(settings, resources)
    pool = await open_part(Pool(backends))
    await open_part(Agents(pool, engine.source, Work(inputs, threads, store)))
    secret = secret_file(settings.data / "link.key")
    app[ENGINE], app[POOL], app[STORE] = engine, pool, store
    app[SIGNER], app[REQUEST_KEYS] = LinkSigner(secret, settings.public_url), RequestKeys(secret)
    app[ADMISSION] = Admission(settings.queue_limit + len(backends), engine.queue_full)
    app[OUTPUT_FORMAT], app[WAIT] = settings.output_format, settings.wait_seconds
    app[RECEPTION] = Reception(
        widgets=widgets,
        pictures=pictures,
        threads=threads,
        shelf=Shelf(settings.data / "models"),
        pool=pool,
        store=store,
        inputs=inputs,
        engine=engine,
        limits=Limits(run=settings.deadline_seconds, wait=settings.queue_seconds),
    )


@asynccontextmanager
async def _sweeping(inputs: InputFiles, engine: SqliteEngine) -> AsyncIterator[None]:
    """Deletes, now and then, the pictures of jobs that ended where nobody could."""

    async def sweep() -> None:
        await inputs.sweep(engine.unfinished)
        await asyncio.sleep(_SWEEP)

    task = asyncio.create_task(keep_running("Sweeper of inputs", sweep, Backoff()), name="input sweeper")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def _engine(settings: Settings) -> SqliteEngine:
    dials = Dials(
        waiting_limit=settings.queue_limit, kept=settings.link_hours * 3600, affinity=settings.affinity_seconds
    )
    return SqliteEngine(settings.data / "jobs.sqlite", dials)


def _picture_source(settings: Settings, threads: PictureThreads) -> PictureSource:
    return PictureSource(
        threads,
        max_bytes=settings.picture_mb * 1_000_000,
        max_pixels=int(settings.picture_megapixels * 1_000_000),
        timeout=settings.fetch_seconds,
        allow_networks=settings.fetch_networks,
    )


def _image_store(settings: Settings) -> ImageStore:
    return ImageStore(
        settings.data / "images",
        limit_bytes=int(settings.store_gb * 1e9),
        lifetime=settings.link_hours * 3600,
        floor_bytes=int(settings.disk_floor_gb * 1e9),
    )


async def _backends(settings: Settings, resources: AsyncExitStack) -> list[BackendClient]:
    """The operator's ComfyUI servers, or the embedded backend where there are none."""
    if settings.backends:
        return [
            BackendClient(backend.url, name=backend.name or backend.url, headers=backend.headers)
            for backend in settings.backends
        ]
    log.info("no backend is configured: starting the embedded one, which samples on the CPU")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    backend = BackendClient(f"http://127.0.0.1:{port}", name="embedded")
    temporary = await resources.enter_async_context(_temporary_folder())
    command = _embedded_command(settings, port, temporary)
    process = BackendProcess("embedded", command, ready=backend.alive, start_deadline=_EMBEDDED_START)
    await resources.enter_async_context(process)
    return [backend]


def _embedded_command(settings: Settings, port: int, temporary: Path) -> list[str]:
    command = [sys.executable, "-m", "orchestrator.embedded", "--port", str(port), "--demo-model"]
    command += ["--models", str(settings.data / "models"), "--temp", str(temporary), "--nodes", str(settings.nodes)]
    return [*command, "--parent-pid", str(os.getpid())]


@asynccontextmanager
async def _temporary_folder() -> AsyncIterator[Path]:
    folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="orchestrator-")
    try:
        yield Path(folder)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
