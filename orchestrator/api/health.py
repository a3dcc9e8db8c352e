"""`/healthz` and `/readyz`: is the process alive, can it take a job."""

from aiohttp import web

from orchestrator.api.keys import POOL


async def healthz(_request: web.Request) -> web.Response:
    """GET /healthz: 200 as long as the process answers"""
    return web.json_response({"status": "alive"})


async def readyz(request: web.Request) -> web.Response:
    """GET /readyz: 200 when a backend is ready to take a job, else 503"""
    pool = request.app[POOL]
    backends = [{"name": state.name, "state": state.connection} for state in pool.snapshot()]
    status = 200 if pool.ready else 503
    return web.json_response({"status": "ready" if pool.ready else "not ready", "backends": backends}, status=status)
