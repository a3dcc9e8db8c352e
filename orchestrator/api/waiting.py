"""How a request wants to wait for its job: to the end, not at all, or to the end as long as its caller is there.

`Prefer: respond-async` answers at once, `Prefer: wait=20` after so many seconds at the latest (RFC 7240);
`X-Cancel-On-Disconnect: true` has the job cancelled when its caller goes away; `X-Webhook-URL` is told of its end.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from orchestrator.api.access import caller_of
from orchestrator.api.admission import PLACE
from orchestrator.api.idempotency import fingerprint
from orchestrator.api.keys import ADMISSION, METRICS, OUTPUT_FORMAT, RATES, RECEPTION, REQUEST_KEYS, WAIT, WEBHOOK_GUARD
from orchestrator.api.problems import IGNORED, SUBMITTED
from orchestrator.api.stopping import unless_stopping
from orchestrator.callers.caller import Caller, Right
from orchestrator.complaints import Complaints
from orchestrator.errors import FieldError, InvalidParameters, ServiceStopping
from orchestrator.images.encode import OutputFormat
from orchestrator.jobs.job import Job
from orchestrator.pipeline import Kept, WidgetRequest
from orchestrator.webhooks.sender import checked

Asked = tuple[str, Mapping[str, object]]
"""A widget's name and raw values."""

_LOOK_SECONDS = 0.5
WEBHOOK = "X-Webhook-URL"
"""Where the job's end is to be told."""
PRIORITY = "X-Priority"
CANCEL = "X-Cancel-On-Disconnect"
_WAIT = re.compile(r"wait\s*=\s*\"?(\d{1,6})\"?", re.ASCII)
_PRIORITIES: Mapping[str, int] = {"high": 0, "normal": 1, "low": 2}


@dataclass(frozen=True)
class Wish:
    """How a caller wants to wait."""

    at_once: bool
    seconds: float
    cancel_on_disconnect: bool


def _wish(request: web.Request) -> Wish:
    """From the request's headers; unknown preferences are ignored, as RFC 7240 wants it."""
    preferences = [part.strip().lower() for part in ",".join(request.headers.getall("Prefer", [])).split(",")]
    asked = next((int(match[1]) for part in preferences if (match := _WAIT.fullmatch(part))), None)
    longest = request.app[WAIT]
    seconds = longest if asked is None else min(float(asked), longest)
    cancel = _one_of(request, CANCEL, ("true", "false")) == "true"
    return Wish("respond-async" in preferences, seconds, cancel)


async def submit(request: web.Request, read: Callable[[web.Request], Awaitable[Asked]]) -> tuple[Kept, Wish]:
    """The job that the request asks for, whose body `read` reads; it is kept from here on. And how to wait for it."""
    app, caller, key = request.app, caller_of(request), request.headers.get("Idempotency-Key")
    caller.require(Right.RUN)
    app[RATES].count(caller)
    chosen, webhook, complaints = output_format(request), "", Complaints()
    with complaints:
        job_id = app[REQUEST_KEYS].job_id(key, caller.id)
    with complaints:
        priority = _priority(request, caller)
    with complaints:
        wish = _wish(request)
    with complaints:
        if address := request.headers.get(WEBHOOK):
            webhook = checked(address, WEBHOOK, app[WEBHOOK_GUARD])
    complaints.settle()
    with app[ADMISSION].enter(caller) as request[PLACE]:
        widget, raw = await read(request)
        if known := app[RECEPTION].widgets.get(widget):
            request[IGNORED] = tuple(name for name in raw if name not in known.definition.parameters)
        asked = {name: request.headers[name] for name in (WEBHOOK, PRIORITY) if name in request.headers}
        mark = "" if key is None else await fingerprint(widget, raw, chosen, asked)
        request_for_run = WidgetRequest(widget, raw, chosen, job_id, mark, priority, caller, webhook)
        kept = await app[RECEPTION].submit(request_for_run)
    app[METRICS].taken(widget, caller.name)
    request[SUBMITTED] = kept.id
    return kept, wish


async def ended(request: web.Request, kept: Kept, wish: Wish) -> Job:
    """The job that succeeded. Only for the request that brought it about does hanging up cancel it: others wait, too.

    Raises the error that it ended with, JobUnfinished when the wait is over, ServiceStopping when the service goes.
    """
    job = await unless_stopping(request.app, _ended(request, kept, wish))
    if job is None:
        raise ServiceStopping(kept.id)
    return job


async def _ended(request: web.Request, kept: Kept, wish: Wish) -> Job:
    waiting = asyncio.ensure_future(request.app[RECEPTION].ended(kept.id, wish.seconds))
    try:
        while kept.anew and wish.cancel_on_disconnect and not waiting.done():
            await asyncio.wait({waiting}, timeout=_LOOK_SECONDS)
            if request.transport is None or request.transport.is_closing():
                await request.app[RECEPTION].cancel(kept.id)
                break
        return await waiting
    finally:
        waiting.cancel()


def output_format(request: web.Request) -> OutputFormat:
    """What the caller accepts by name, else the operator's choice."""
    accepted = request.headers.get("Accept", "")
    if "image/png" in accepted:
        return "png"
    if "image/jpeg" in accepted:
        return "jpeg"
    return request.app[OUTPUT_FORMAT]


def _priority(request: web.Request, caller: Caller) -> int:
    """What the caller asks for; without a word, normal or the highest that it may ask for."""
    highest = _PRIORITIES[caller.limits.priority]
    given = _one_of(request, PRIORITY, [name for name, rank in _PRIORITIES.items() if rank >= highest])
    return max(highest, _PRIORITIES["normal"]) if given is None else _PRIORITIES[given]


def _one_of(request: web.Request, name: str, words: Sequence[str]) -> str | None:
    """The header's word in lower case, None without it. Raises InvalidParameters."""
    given = request.headers.get(name)
    if given is None:
        return None
    if given.lower() not in words:
        raise InvalidParameters(None, [FieldError(name, f"must be one of {', '.join(words)}")])
    return given.lower()
