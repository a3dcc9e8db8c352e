"""`/jobs/{id}`: where a job stands."""

from aiohttp import web

from orchestrator.api.keys import BOARD
from orchestrator.errors import JobNotFound
from orchestrator.jobs.job import Failed, Fetching, Job, Running, Succeeded


async def get_job(request: web.Request) -> web.Response:
    """GET /jobs/{id}"""
    job = request.app[BOARD].find(request.match_info["id"])
    if job is None:
        raise JobNotFound
    return web.json_response(_described(job), headers={"Cache-Control": "no-store"})


def _described(job: Job) -> dict[str, object]:
    described: dict[str, object] = {
        "id": job.id,
        "widget": job.widget,
        "state": job.state.name,
        "seed": job.seed,
        "timings": {stage: round(seconds, 4) for stage, seconds in job.timings},
    }
    match job.state:
        case Fetching(model, received, total, rate, left):
            described |= {"model": model, "received_bytes": received, "total_bytes": total}
            described |= {"bytes_per_second": round(rate), "seconds_left": None if left is None else round(left, 1)}
        case Running(backend, node, step, steps):
            described |= {"backend": backend, "node": node, "step": step, "steps": steps}
        case Succeeded(url, expires_at):
            described |= {"url": url, "expires_at": expires_at}
        case Failed(code, detail):
            described |= {"code": code, "detail": detail}
    return described
