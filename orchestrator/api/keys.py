"""The parts that handlers reach through the application, as typed keys."""

from aiohttp import web

from orchestrator.api.admission import Admission
from orchestrator.api.idempotency import RequestKeys
from orchestrator.callers.keys import ApiKeys
from orchestrator.callers.rates import Rates
from orchestrator.comfy.pool import Pool
from orchestrator.images.encode import OutputFormat
from orchestrator.images.guard import AddressGuard
from orchestrator.images.links import LinkSigner
from orchestrator.images.store import ImageStore
from orchestrator.jobs.engine import JobEngine
from orchestrator.models.outlet import Outlet
from orchestrator.opening import Opener
from orchestrator.pipeline import Reception
from orchestrator.telemetry.metrics import Metrics

API_KEYS: web.AppKey[ApiKeys | None] = web.AppKey("api_keys")
"""None where no keys are asked for."""
HOSTS: web.AppKey[frozenset[str] | None] = web.AppKey("hosts")
"""Names, besides loopback addresses, by which a service on loopback is asked; None where any name will do."""
METRICS = web.AppKey("metrics", Metrics)
ORIGINS: web.AppKey[frozenset[str]] = web.AppKey("origins")
"""Of pages that may read answers; "*" is all of them."""
RATES = web.AppKey("rates", Rates)
ADMISSION = web.AppKey("admission", Admission)
RECEPTION = web.AppKey("reception", Reception)
ENGINE: web.AppKey[JobEngine] = web.AppKey("engine")
POOL = web.AppKey("pool", Pool)
STORE = web.AppKey("store", ImageStore)
SIGNER = web.AppKey("signer", LinkSigner)
OUTLET = web.AppKey("outlet", Outlet)
MODEL_SIGNER = web.AppKey("model_signer", LinkSigner)
REQUEST_KEYS = web.AppKey("request_keys", RequestKeys)
WEBHOOK_GUARD = web.AppKey("webhook_guard", AddressGuard)
"""Which addresses webhooks may have."""
OPENER = web.AppKey("opener", Opener)
OUTPUT_FORMAT: web.AppKey[OutputFormat] = web.AppKey("output_format")
WAIT = web.AppKey("wait", float)
"""Seconds that a request waits for its job."""
