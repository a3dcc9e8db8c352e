"""Makes every part of the service and joins them. Each resource is opened and closed here, in order."""

import asyncio
import logging
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from secrets import token_urlsafe

from aiohttp import web
from PIL import Image
from yarl import URL

from orchestrator.agents import Agents
from orchestrator.api.access import access
from orchestrator.api.admission import Admission
from orchestrator.api.cors import allow_origin, cross_origin
from orchestrator.api.idempotency import RequestKeys
from orchestrator.api.jobs import description
from orchestrator.api.keys import (
    ADMISSION,
    API_KEYS,
    ENGINE,
    HOSTS,
    METRICS,
    MODEL_SIGNER,
    OPENER,
    ORIGINS,
    OUTLET,
    OUTPUT_FORMAT,
    POOL,
    RATES,
    RECEPTION,
    REQUEST_KEYS,
    SIGNER,
    STORE,
    WAIT,
)
from orchestrator.api.metrics import measured
from orchestrator.api.problems import problems
from orchestrator.api.publishing import PUBLISHING, Publishing
from orchestrator.api.routes import ROUTES
from orchestrator.api.stopping import STOPPING, announce
from orchestrator.callers.keys import ApiKeys
from orchestrator.callers.rates import Rates
from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.embedded import Folders, embedded_backend
from orchestrator.comfy.installation import find_installation
from orchestrator.comfy.known import known_catalog
from orchestrator.comfy.managed import ManagedSetup, managed_backend
from orchestrator.comfy.pool import Pool
from orchestrator.comfy.supervision import Backoff, keep_running
from orchestrator.errors import SettingsError
from orchestrator.images.guard import AddressGuard
from orchestrator.images.inputs import InputFiles
from orchestrator.images.links import LinkSigner, secret_file
from orchestrator.images.source import PictureSource
from orchestrator.images.store import ImageStore
from orchestrator.images.threads import PictureThreads
from orchestrator.jobs.sqlite import Dials, SqliteEngine
from orchestrator.models.client import CivitaiClient
from orchestrator.models.download import Downloader
from orchestrator.models.finder import ModelFinder, Supply
from orchestrator.models.look import Looker
from orchestrator.models.names import Names, load_names
from orchestrator.models.origins import AllowedOrigins
from orchestrator.models.outlet import Outlet
from orchestrator.models.room import Room
from orchestrator.models.shelf import Shelf, tell
from orchestrator.opening import Opener
from orchestrator.pipeline import Limits, Reception, Work
from orchestrator.provisions import Provisions
from orchestrator.settings import ManagedBackend, RemoteBackend, Settings
from orchestrator.supplying import ModelSupplier
from orchestrator.telemetry.metrics import Metrics
from orchestrator.telemetry.observer import Observer, observing
from orchestrator.webhooks.messenger import Messenger
from orchestrator.webhooks.sender import Sender
from orchestrator.webhooks.signing import WebhookSigner
from orchestrator.widgets.following import LivingWidgets

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
"""How often the folder of workflows is looked at for changes."""
_SWEEP = 60.0
_ADOPTION = 60.0
"""Seconds after a start in which a job that was at a backend is left to that backend, should it come back."""


def load_widgets(settings: Settings) -> LivingWidgets:
    """Every widget, audited against the nodes that are known. Raises WorkflowError."""
    return LivingWidgets(settings.workflows, known_catalog())


def create_app(settings: Settings) -> web.Application:
    """The service as an aiohttp application; `settings.public_url` is what links begin with.

    Raises WorkflowError and SettingsError here, before anything listens.
    """
    widgets = load_widgets(settings)
    webhook_signer(settings)
    load_model_names(settings)
    for backend in settings.backends:
        if isinstance(backend, ManagedBackend):
            managed_setup(settings, backend)
    app = web.Application(
        middlewares=[measured, problems, cross_origin, access], client_max_size=settings.body_mb * 1_000_000
    )
    app[API_KEYS], app[RATES] = _required_keys(settings), Rates(time.monotonic)
    app[ORIGINS] = frozenset(settings.cors_origins)
    app.on_response_prepare.append(allow_origin)
    own_names = {"localhost", URL(settings.public_url).host or ""}
    app[HOSTS] = None if settings.is_exposed else frozenset(own_names)
    app[METRICS] = Metrics()
    app.add_routes(ROUTES)
    app[STOPPING] = asyncio.Event()
    app.on_shutdown.append(announce)

    async def parts(app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as resources:
            await _join(app, settings, widgets, resources)
            yield

    app.cleanup_ctx.append(parts)
    return app


def keys_of(data: Path) -> ApiKeys:
    """The API keys of a data folder."""
    return ApiKeys(data / "keys.json")


def _required_keys(settings: Settings) -> ApiKeys | None:
    """The keys that callers need, or None where they need none. Raises StorageError."""
    if not settings.keys_needed:
        if settings.is_exposed:
            log.warning("api_keys is off: whoever reaches %s port %s may do everything", settings.host, settings.port)
        return None
    keys = keys_of(settings.data)
    if not keys.listed():
        log.warning("there is no API key yet, so nobody can call; `orchestrator keys add NAME` makes one")
    return keys


async def _join(app: web.Application, settings: Settings, widgets: LivingWidgets, resources: AsyncExitStack) -> None:
    """Opens every part, each on the ones before it, and puts those that handlers reach into the application."""
    open_part = resources.enter_async_context
    await open_part(_followed(widgets))
    observer = await open_part(observing(settings.otlp_endpoint, app[METRICS]))
    threads = await open_part(PictureThreads())
    pictures = await open_part(_picture_source(settings, threads))
    store = await open_part(_image_store(settings))
    models = await open_part(open_models(settings, app[METRICS].downloaded))
    engine = await open_part(_engine(settings, observer))
    await engine.adopt(_ADOPTION)
    provisions = await open_part(Provisions(_input_files(settings), models, engine))
    await open_part(_sweeping(provisions))
    secret = secret_file(settings.data / "link.key")
    app[PUBLISHING] = Publishing(widgets, settings.publish, token_urlsafe(32), asyncio.Lock())
    backends = await _backends(settings, sha256(secret).hexdigest()[:8], _publishing(settings, app), resources)
    pool = await open_part(Pool(backends))
    app[OUTLET] = Outlet(shelf_of(settings))
    app[MODEL_SIGNER] = LinkSigner(secret, settings.models_url or settings.public_url, "models")
    supplier = ModelSupplier(app[OUTLET], app[MODEL_SIGNER], settings.fetch_hours * 3600)
    work = Work(provisions, supplier, threads, store, observer.passed, settings.png_workflow)
    await open_part(Agents(pool, engine.source, work, switched=app[METRICS].switched))
    app[ENGINE], app[POOL], app[STORE] = engine, pool, store
    app[SIGNER], app[REQUEST_KEYS] = LinkSigner(secret, settings.public_url), RequestKeys(secret)
    await open_part(_webhooks(settings, engine, app, secret))
    app[ADMISSION] = Admission(settings.queue_limit + len(backends), engine.queue_full)
    app[OPENER] = Opener(pool, provisions, {it.called: it.editor_url for it in settings.backends})
    app[OUTPUT_FORMAT], app[WAIT] = settings.output_format, settings.wait_seconds
    app[RECEPTION] = Reception(
        widgets=widgets,
        pictures=pictures,
        threads=threads,
        models=models,
        pool=pool,
        store=store,
        provisions=provisions,
        engine=engine,
        limits=Limits(run=settings.deadline_seconds, wait=settings.queue_seconds),
        passed=observer.passed,
    )


@asynccontextmanager
async def _sweeping(provisions: Provisions) -> AsyncIterator[None]:
    """Drops, now and then, what jobs have left that ended where nobody could."""

    async def sweep() -> None:
        await provisions.sweep()
        await asyncio.sleep(_SWEEP)

    task = asyncio.create_task(keep_running("Sweeper of provisions", sweep, Backoff()), name="provision sweeper")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def _webhooks(settings: Settings, engine: SqliteEngine, app: web.Application, secret: bytes) -> Messenger:
    """Tells webhooks of the ends of jobs while it is open."""
    agent = f"comfy-orchestrator/{version('comfy-orchestrator')}"
    sender = Sender(AddressGuard(settings.webhook_networks), timeout=settings.webhook_seconds, user_agent=agent)
    signer, links = webhook_signer(settings, secret), app[SIGNER]
    heard = app[METRICS].posted
    return Messenger(engine, engine.outbox, sender, signer, lambda job: description(links, job), heard=heard)


def webhook_signer(settings: Settings, secret: bytes | None = None) -> WebhookSigner:
    """What webhooks are signed with. Raises SettingsError."""
    try:
        return WebhookSigner(secret or secret_file(settings.data / "link.key"), settings.webhook_secret)
    except ValueError as error:
        raise SettingsError(f"webhook_secret {error}") from error


def _engine(settings: Settings, observer: Observer) -> SqliteEngine:
    dials = Dials(
        waiting_limit=settings.queue_limit, kept=settings.link_hours * 3600, affinity=settings.affinity_seconds
    )
    return SqliteEngine(settings.data / "jobs.sqlite", dials, observe=observer.happened)


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
async def open_models(
    settings: Settings, heard: Callable[[str, int], None] = lambda *_: None
) -> AsyncIterator[ModelFinder]:
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
        downloader = Downloader(client, shelf, room, deadline=deadline, source=settings.civitai_url, heard=heard)
        yield ModelFinder(shelf, names, Supply(client, Looker(client), downloader))


def _picture_source(settings: Settings, threads: PictureThreads) -> PictureSource:
    return PictureSource(
        threads,
        max_bytes=settings.picture_mb * 1_000_000,
        max_pixels=int(settings.picture_megapixels * 1_000_000),
        timeout=settings.fetch_seconds,
        allow_networks=settings.fetch_networks,
    )


def _input_files(settings: Settings) -> InputFiles:
    return InputFiles(settings.data / "inputs", int(settings.inputs_gb * 1e9))


def _image_store(settings: Settings) -> ImageStore:
    return ImageStore(
        settings.data / "images",
        limit_bytes=int(settings.store_gb * 1e9),
        lifetime=settings.link_hours * 3600,
        floor_bytes=int(settings.disk_floor_gb * 1e9),
    )


def _publishing(settings: Settings, app: web.Application) -> dict[str, str]:
    """What the packs of a backend that the service starts need to publish: where, and a secret in place of API keys."""
    environment = {"ORCHESTRATOR_PUBLISH_URL": settings.public_url}
    if settings.publish == "editor" and app[API_KEYS] is None:
        environment["ORCHESTRATOR_PUBLISH_KEY"] = app[PUBLISHING].secret
    return environment if settings.publish != "off" else {}


async def _backends(
    settings: Settings, mark: str, environment: Mapping[str, str], resources: AsyncExitStack
) -> list[BackendClient]:
    """The operator's ComfyUI servers and those that the service starts, or the embedded backend where there are none.

    Raises SettingsError. `mark` tells this service's files at a backend from another's; `environment` is for the
    processes that are started.
    """
    if settings.backends:
        return [
            await resources.enter_async_context(managed_backend(managed_setup(settings, backend, environment)))
            if isinstance(backend, ManagedBackend)
            else remote_client(backend, mark)
            for backend in settings.backends
        ]
    log.info("no backend is configured: starting the embedded one, which samples on the CPU")
    temporary = await resources.enter_async_context(_temporary_folder())
    await asyncio.to_thread(_example_inputs, temporary / "input")
    folders = Folders(
        models=settings.data / "models",
        temporary=temporary,
        nodes=settings.nodes,
        workflows=settings.workflows,
        editor=settings.data / "editor",
    )
    return [await resources.enter_async_context(embedded_backend(folders, settings.editor_port, environment))]


def _example_inputs(folder: Path) -> None:
    """The pictures that the project's drawings name, so that they run in the editor as they are opened."""
    samples = Path(__file__).parent / "demo"
    folder.mkdir(parents=True)
    shutil.copy(samples / "mask.png", folder / "mask.png")
    with Image.open(samples / "sample.jpg") as picture:
        picture.save(folder / "picture.png")


def remote_client(backend: RemoteBackend, mark: str = "") -> BackendClient:
    """A client of a ComfyUI that the operator runs."""
    return BackendClient(
        backend.url,
        name=backend.called,
        headers=backend.headers,
        fetches_models=backend.models == "fetch",
        mark=mark,
    )


def managed_setup(
    settings: Settings, backend: ManagedBackend, environment: Mapping[str, str] | None = None
) -> ManagedSetup:
    """What a managed backend is started with. Raises SettingsError when its ComfyUI is not found."""
    return ManagedSetup(
        name=backend.called,
        installation=find_installation(backend.folder, backend.python),
        home=(settings.data / "backends" / backend.called).absolute(),
        models=(settings.data / "models").absolute(),
        nodes=settings.nodes.absolute(),
        device=backend.device,
        arguments=backend.arguments,
        port=backend.port,
        environment=environment or {},
    )


@asynccontextmanager
async def _temporary_folder() -> AsyncIterator[Path]:
    folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="orchestrator-")
    try:
        yield Path(folder)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
