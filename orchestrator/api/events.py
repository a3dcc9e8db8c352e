"""`/jobs/{id}/events`: what happens to a job, as server-sent events; `Last-Event-ID` gets what was missed."""

import asyncio
import json
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace

from aiohttp import web

from orchestrator.api.jobs import described, job_of
from orchestrator.api.keys import ENGINE, RECEPTION
from orchestrator.api.stopping import STOPPING
from orchestrator.errors import FieldError, InvalidParameters
from orchestrator.jobs.job import Ended, Event, Job, happening_to_json

_QUIET_SECONDS = 15.0
"""After which a comment is sent, so that proxies keep the connection."""


async def get_events(request: web.Request) -> web.StreamResponse:
    """GET /jobs/{id}/events: to the job's end; 204 for who has heard the end already, which stops an EventSource"""
    job = await job_of(request)
    after = _last_number(request)
    events = request.app[ENGINE].events(job.id, after, previews=True)
    async with aclosing(events):
        first = await anext(events, None)
        if first is None:
            return web.Response(status=204)
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        with suppress(ConnectionError):
            await _tell(request, response, job, first)
            await _tell_all(request, response, job, events)
        return response


async def _tell_all(
    request: web.Request, response: web.StreamResponse, job: Job, events: AsyncGenerator[Event, None]
) -> None:
    coming: asyncio.Task[Event | None] | None = None
    stopping = asyncio.ensure_future(request.app[STOPPING].wait())
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(events, None))
            done, _ = await asyncio.wait({coming, stopping}, timeout=_QUIET_SECONDS, return_when=FIRST_COMPLETED)
            if stopping in done:
                return  # the stream ends, and whoever listens comes back to the next life with its last id
            if not done:
                await response.write(b": still here\n\n")
                continue
            event = coming.result()
            coming = None
            if event is None:
                return
            await _tell(request, response, job, event)
    finally:
        stopping.cancel()
        if coming is not None:
            coming.cancel()
            await asyncio.wait({coming})


async def _tell(request: web.Request, response: web.StreamResponse, job: Job, event: Event) -> None:
    happening = event.happening
    if isinstance(happening, Ended):
        ended = await request.app[RECEPTION].job(job.id)
        data = json.dumps(described(request, replace(ended, state=happening)))
    else:
        data = happening_to_json(happening).decode()
    await response.write(f"id: {event.number}\nevent: {happening.kind}\ndata: {data}\n\n".encode())


def _last_number(request: web.Request) -> int:
    given = request.headers.get("Last-Event-ID") or request.query.get("last_event_id") or "0"
    if not (given.isascii() and given.isdecimal() and len(given) <= 15):
        raise InvalidParameters(None, [FieldError("Last-Event-ID", "must be the id of an event of this job")])
    return int(given)
