"""`/metrics` for Prometheus, and the middleware that counts requests."""

import time
from collections import Counter
from typing import get_args

from aiohttp import web
from aiohttp.typedefs import Handler

from orchestrator.api.keys import ENGINE, METRICS, POOL
from orchestrator.comfy.place import Connection

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def get_metrics(request: web.Request) -> web.Response:
    """GET /metrics"""
    stats = await request.app[ENGINE].stats()
    jobs = {"fetching": stats.fetching, "queued": stats.queued, "running": stats.running}
    backends = Counter(state.connection for state in request.app[POOL].snapshot())
    body = request.app[METRICS].render(jobs, dict.fromkeys(get_args(Connection), 0) | dict(backends))
    return web.Response(body=body, headers={"Content-Type": _CONTENT_TYPE})


@web.middleware
async def measured(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Counts every request by the route as it is written, and how long its answer took."""
    began, status = time.perf_counter(), 500
    try:
        answer = await handler(request)
        status = answer.status
        return answer
    except web.HTTPException as error:
        status = error.status
        raise
    finally:
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "none"
        request.app[METRICS].answered(request.method, route, status, time.perf_counter() - began)
