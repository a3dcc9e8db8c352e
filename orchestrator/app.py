"""Makes every part of the service and joins them. Each resource is opened and closed here, in order."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from secrets import token_urlsafe

from aiohttp import web
from yarl import URL

from orchestrator.agents import Agents
from orchestrator.api import myshell
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
    WEBHOOK_GUARD,
)
from orchestrator.api.metrics import measured
from orchestrator.api.problems import FORMS, problems
from orchestrator.api.publishing import PUBLISHING, Publishing
from orchestrator.api.routes import ROUTES
from orchestrator.api.stopping import STOPPING, announce
from orchestrator.backends import managed_setup, open_backends
from orchestrator.callers.rates import Rates
from orchestrator.comfy.known import known_catalog
from orchestrator.comfy.pool import Pool
from orchestrator.comfy.supervision import repeated
from orchestrator.images.guard import AddressGuard
from orchestrator.images.links import LinkSigner, secret_file
from orchestrator.images.threads import PictureThreads
from orchestrator.jobs.sqlite import SqliteEngine
from orchestrator.models.outlet import Outlet
from orchestrator.opening import Opener
from orchestrator.parts import (
    image_store,
    input_files,
    job_engine,
    load_model_names,
    open_models,
    picture_source,
    require_nodes,
    required_keys,
    shelf_of,
    sole_service,
    webhook_signer,
)
from orchestrator.pipeline import Limits, Reception, Work
from orchestrator.provisions import Provisions
from orchestrator.settings import ManagedBackend, Settings
from orchestrator.supplying import ModelSupplier
from orchestrator.telemetry.metrics import Metrics
from orchestrator.telemetry.observer import observing
from orchestrator.webhooks.messenger import Messenger
from orchestrator.webhooks.sender import Sender
from orchestrator.widgets.following import LivingWidgets

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
"""How often the folder of workflows is looked at for changes."""
_SWEEP = 60.0
"""Seconds between looks for what jobs have left that ended where nobody could drop it."""
_BODIES = 8
"""Of the largest bodies, how many may be read at once: each is in memory two or three times while it is looked at."""
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
    require_nodes(settings)
    webhook_signer(settings)
    load_model_names(settings)
    for backend in settings.backends:
        if isinstance(backend, ManagedBackend):
            managed_setup(settings, backend)
    app = web.Application(
        middlewares=[measured, problems, cross_origin, access], client_max_size=settings.body_mb * 1_000_000
    )
    app[API_KEYS], app[RATES] = required_keys(settings), Rates(time.monotonic)
    app[ORIGINS] = frozenset(settings.cors_origins)
    app.on_response_prepare.append(allow_origin)
    own_names = {"localhost", URL(settings.public_url).host or ""}
    app[HOSTS] = None if settings.is_exposed else frozenset(own_names)
    app[METRICS] = Metrics()
    app.add_routes(ROUTES)
    app[FORMS] = {myshell.PATH: myshell.failure}
    app[STOPPING] = asyncio.Event()
    app.on_shutdown.append(announce)

    async def parts(app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as resources:
            await _join(app, settings, widgets, resources)
            yield

    app.cleanup_ctx.append(parts)
    return app


async def _join(app: web.Application, settings: Settings, widgets: LivingWidgets, resources: AsyncExitStack) -> None:
    """Opens every part, each on the ones before it, and puts those that handlers reach into the application."""
    open_part = resources.enter_async_context
    resources.enter_context(sole_service(settings.data))
    await open_part(repeated("Look at the workflows", partial(_follow, widgets), every=_LOOK_SECONDS))
    observer = await open_part(observing(settings.otlp_endpoint, app[METRICS]))
    threads = await open_part(PictureThreads())
    pictures = await open_part(picture_source(settings, threads))
    store = await open_part(image_store(settings))
    models = await open_part(open_models(settings, app[METRICS].downloaded))
    engine = await open_part(job_engine(settings, observer))
    await engine.adopt(_ADOPTION)
    provisions = await open_part(Provisions(input_files(settings), models, engine))
    await open_part(repeated("Sweeper of provisions", provisions.sweep, every=_SWEEP))
    secret = secret_file(settings.data / "link.key")
    app[PUBLISHING] = Publishing(widgets, settings.publish, token_urlsafe(32), asyncio.Lock())
    backends = await open_backends(settings, sha256(secret).hexdigest()[:8], _publishing(settings, app), resources)
    pool = await open_part(Pool(backends))
    app[OUTLET] = Outlet(shelf_of(settings))
    app[MODEL_SIGNER] = LinkSigner(secret, settings.models_url or settings.public_url, "models")
    supplier = ModelSupplier(app[OUTLET], app[MODEL_SIGNER], settings.fetch_hours * 3600)
    work = Work(provisions, supplier, threads, store, observer.passed, settings.png_workflow)
    await open_part(Agents(pool, engine.source, work, switched=app[METRICS].switched))
    app[ENGINE], app[POOL], app[STORE] = engine, pool, store
    app[SIGNER], app[REQUEST_KEYS] = LinkSigner(secret, settings.public_url), RequestKeys(secret)
    await open_part(_webhooks(settings, engine, app, secret))
    app[ADMISSION] = Admission(settings.queue_limit + len(backends), _BODIES * settings.body_mb * 1_000_000)
    app[OPENER] = Opener(pool, provisions, {it.called: it.editor_url for it in settings.backends})
    app[OUTPUT_FORMAT], app[WAIT] = settings.output_format, settings.wait_seconds
    app[RECEPTION] = Reception(
        widgets=widgets,
        pictures=pictures,
        models=models,
        pool=pool,
        store=store,
        provisions=provisions,
        engine=engine,
        limits=Limits(run=settings.deadline_seconds, wait=settings.queue_seconds),
        passed=observer.passed,
    )


async def _follow(widgets: LivingWidgets) -> None:
    """Takes up what has changed in the folder of workflows, and tells in the log what cannot be used."""
    change = await asyncio.to_thread(widgets.look)
    if change is not None:
        widgets.adopt(change)
        for sentence in change.taken_up:
            log.info("workflows: %s", sentence)
        for sentence in change.refused:
            log.error("workflows: %s", sentence)


def _webhooks(settings: Settings, engine: SqliteEngine, app: web.Application, secret: bytes) -> Messenger:
    """Tells webhooks of the ends of jobs while it is open."""
    agent = f"comfy-orchestrator/{version('comfy-orchestrator')}"
    app[WEBHOOK_GUARD] = AddressGuard(settings.webhook_networks)
    sender = Sender(app[WEBHOOK_GUARD], timeout=settings.webhook_seconds, user_agent=agent)
    signer, links = webhook_signer(settings, secret), app[SIGNER]
    heard = app[METRICS].posted
    return Messenger(engine, engine.outbox, sender, signer, lambda job: description(links, job), heard=heard)


def _publishing(settings: Settings, app: web.Application) -> dict[str, str]:
    """What the packs of a backend that the service starts need to publish: where, and a secret in place of API keys."""
    environment = {"ORCHESTRATOR_PUBLISH_URL": settings.public_url}
    if settings.publish == "editor" and app[API_KEYS] is None:
        environment["ORCHESTRATOR_PUBLISH_KEY"] = app[PUBLISHING].secret
    return environment if settings.publish != "off" else {}
