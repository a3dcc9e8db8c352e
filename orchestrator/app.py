"""Makes every part of the service and joins them. Each resource is opened and closed here, in order."""

import asyncio
import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from aiohttp import web
from yarl import URL

from orchestrator.api.admission import Admission
from orchestrator.api.keys import ADMISSION, BOARD, MODEL_SIGNER, OUTLET, OUTPUT_FORMAT, PIPELINE, POOL, SIGNER, STORE
from orchestrator.api.problems import problems
from orchestrator.api.routes import ROUTES
from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.known import known_catalog
from orchestrator.comfy.pool import Pool
from orchestrator.comfy.process import BackendProcess
from orchestrator.errors import SettingsError
from orchestrator.images.links import LinkSigner, secret_file
from orchestrator.images.source import PictureSource
from orchestrator.images.store import ImageStore
from orchestrator.images.threads import PictureThreads
from orchestrator.jobs.board import Board
from orchestrator.models.client import CivitaiClient
from orchestrator.models.download import Downloader
from orchestrator.models.finder import ModelFinder, Supply
from orchestrator.models.look import Looker
from orchestrator.models.names import Names, load_names
from orchestrator.models.origins import AllowedOrigins
from orchestrator.models.outlet import Outlet
from orchestrator.models.room import Room
from orchestrator.models.shelf import Shelf, tell
from orchestrator.pipeline import Pipeline
from orchestrator.settings import Settings
from orchestrator.supplying import ModelSupplier
from orchestrator.widgets.following import LivingWidgets

log = logging.getLogger(__name__)

_EMBEDDED_START = 180.0
"""Seconds; the first start writes the demo model's files."""


_LOOK_SECONDS = 1.0
"""How often the folder of workflows is looked at for changes."""


def load_widgets(settings: Settings) -> LivingWidgets:
    """Every widget, audited against the nodes that are known. Raises WorkflowError."""
    return LivingWidgets(settings.workflows, known_catalog())


def create_app(settings: Settings) -> web.Application:
    """The service as an aiohttp application; `settings.public_url` is what links begin with.

    Raises WorkflowError and SettingsError here, before anything listens.
    """
    widgets = load_widgets(settings)
    load_model_names(settings)
    app = web.Application(middlewares=[problems], client_max_size=settings.body_mb * 1_000_000)
    app.add_routes(ROUTES)

    async def parts(app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as resources:
            await _join(app, settings, widgets, resources)
            yield

    app.cleanup_ctx.append(parts)
    return app


async def _join(app: web.Application, settings: Settings, widgets: LivingWidgets, resources: AsyncExitStack) -> None:
    """Opens every part, each on the ones before it, and puts those that handlers reach into the application."""
    open_part = resources.enter_async_context
    await open_part(_followed(widgets))
    threads = await open_part(PictureThreads())
    pictures = await open_part(_picture_source(settings, threads))
    store = await open_part(_image_store(settings))
    models = await open_part(open_models(settings))
    backends = await _backends(settings, resources)
    pool = await open_part(Pool(backends, waiting_limit=settings.queue_limit))
    signer = LinkSigner(secret_file(settings.data / "link.key"), settings.public_url)
    board = Board()
    outlet = Outlet(shelf_of(settings))
    models_signer = LinkSigner(
        secret_file(settings.data / "link.key"), settings.models_url or settings.public_url, "models"
    )
    app[OUTLET], app[MODEL_SIGNER] = outlet, models_signer
    app[BOARD], app[POOL], app[STORE], app[SIGNER] = board, pool, store, signer
    app[ADMISSION] = Admission(settings.queue_limit + len(backends), pool.queue_full)
    app[OUTPUT_FORMAT] = settings.output_format
    app[PIPELINE] = Pipeline(
        widgets=widgets,
        pictures=pictures,
        threads=threads,
        models=models,
        supplier=ModelSupplier(outlet, models_signer, settings.fetch_hours * 3600),
        pool=pool,
        store=store,
        signer=signer,
        board=board,
        deadline_seconds=settings.deadline_seconds,
    )


@asynccontextmanager
async def _followed(widgets: LivingWidgets) -> AsyncIterator[None]:
    """While it is open, changed folders of workflows are taken up and what cannot be used is told in the log."""

    async def follow() -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                change = await asyncio.to_thread(widgets.look)
            except Exception:
                log.exception("the folder of workflows could not be looked through; the widgets stay as they are")
                continue
            if change is not None:
                widgets.adopt(change)
                for sentence in change.taken_up:
                    log.info("workflows: %s", sentence)
                for sentence in change.refused:
                    log.error("workflows: %s", sentence)

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def load_model_names(settings: Settings) -> Names:
    """The operator's names for models. Raises SettingsError for them, and for a civitai_url that is not allowed."""
    if settings.civitai_url and not AllowedOrigins(settings.civitai_hosts).permits(URL(settings.civitai_url)):
        raise SettingsError(
            f"civitai_url {settings.civitai_url} is at none of civitai_hosts; list it there if it is your mirror"
        )
    return load_names(settings.data / "models.yaml")


def shelf_of(settings: Settings) -> Shelf:
    """The models folder."""
    return Shelf(settings.data / "models")


@asynccontextmanager
async def open_models(settings: Settings) -> AsyncIterator[ModelFinder]:
    """The finder of models, with a session to Civitai unless that is turned off. Says what an earlier life left behind.

    Raises SettingsError.
    """
    shelf, names = shelf_of(settings), load_model_names(settings)
    tell(await asyncio.to_thread(shelf.survey), shelf.root)
    if not settings.civitai_url:
        yield ModelFinder(shelf, names)
        return
    room = Room(shelf.root, int(settings.shelf_gb * 1e9), int(settings.disk_floor_gb * 1e9))
    async with CivitaiClient(settings.civitai_url, settings.civitai_hosts, key=settings.civitai_key) as client:
        deadline = settings.fetch_hours * 3600
        downloader = Downloader(client, shelf, room, deadline=deadline, source=settings.civitai_url)
        yield ModelFinder(shelf, names, Supply(client, Looker(client), downloader))


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
            BackendClient(
                backend.url,
                name=backend.name or backend.url,
                headers=backend.headers,
                fetches_models=backend.models == "fetch",
            )
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
