"""`/jobs/{id}`: where a job stands, cancelling it, the graph that it runs; and what answers say about a job."""

import time
from contextlib import suppress

from aiohttp import web

from orchestrator.api.access import caller_of
from orchestrator.api.editor import editor_url
from orchestrator.api.keys import RECEPTION, SIGNER
from orchestrator.api.problems import ignored_header, job_url
from orchestrator.api.stopping import STOPPING, unless_stopping
from orchestrator.errors import JobEnded, JobNotFound, JobUnfinished, LinkExpired, OrchestratorError
from orchestrator.images.links import LinkSigner
from orchestrator.jobs.engine import Cancellation
from orchestrator.jobs.job import Cancelled, Failed, Fetching, Job, Queued, Running, Succeeded

_CANCEL_SECONDS = 15.0
"""How long a DELETE waits for a backend to let a job go."""


async def get_job(request: web.Request) -> web.Response:
    """GET /jobs/{id}"""
    return _answer(request, await job_of(request))


async def cancel_job(request: web.Request) -> web.Response:
    """DELETE /jobs/{id}: 200 when the job is cancelled, 202 while its backend is being told, 409 when it had ended"""
    job_id = (await job_of(request)).id
    if await request.app[RECEPTION].cancel(job_id) is Cancellation.ASKED:
        with suppress(OrchestratorError):
            try:
                await unless_stopping(request.app, request.app[RECEPTION].ended(job_id, _CANCEL_SECONDS))
            except JobUnfinished:
                return _answer(request, await job_of(request), status=202)
    job = await job_of(request)
    if request.app[STOPPING].is_set() and not job.has_ended:
        return _answer(request, job, status=202)
    if not isinstance(job.state, Cancelled):
        raise JobEnded(f"The job had {job.state.kind} before it could be cancelled")
    return _answer(request, job)


async def get_prompt(request: web.Request) -> web.Response:
    """GET /jobs/{id}/prompt: the graph as it ran, in ComfyUI's API format, which its editor opens"""
    job = await job_of(request)
    headers = {"Content-Disposition": f'attachment; filename="{job.spec.widget}-{job.id}.json"'}
    return web.json_response(job.spec.graph, headers=headers)


async def get_workflow(request: web.Request) -> web.Response:
    """GET /jobs/{id}/workflow: the same in the artist's layout, as the editor saves it"""
    job = await job_of(request)
    if not job.spec.workflow:
        raise JobNotFound("This job was accepted before workflows were kept; /prompt has its graph")
    headers = {"Content-Disposition": f'attachment; filename="{job.spec.widget}-{job.id}.workflow.json"'}
    return web.Response(text=job.spec.workflow, content_type="application/json", headers=headers)


def accepted(request: web.Request, job: Job) -> web.Response:
    """202, for a caller that comes back."""
    return _answer(request, job, status=202)


def image_url(request: web.Request, job: Job) -> str:
    """The temporary link of the image of a job that succeeded. Raises LinkExpired for one that is only kept because its
    webhook has not been told yet."""
    assert isinstance(job.state, Succeeded), "only a job that succeeded has an image"
    if job.state.expires_at <= time.time():
        raise LinkExpired("The image of this job has expired; ask again under another Idempotency-Key")
    return request.app[SIGNER].url(job.state.image, job.state.expires_at)


def answer_headers(job: Job) -> dict[str, str]:
    """Job id, seed, the parameters that were ignored, and how long each stage took (milliseconds, `Server-Timing`)."""
    headers = {
        "X-Job-Id": job.id,
        "Server-Timing": ", ".join(f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in job.timings),
    }
    if job.spec.seed is not None:
        headers["X-Seed"] = str(job.spec.seed)
    return headers | ignored_header(job.spec.ignored)


def described(request: web.Request, job: Job) -> dict[str, object]:
    """A job as callers see it."""
    return description(request.app[SIGNER], job)


def description(signer: LinkSigner, job: Job) -> dict[str, object]:
    """A job as callers and webhooks are told of it."""
    told: dict[str, object] = {
        "id": job.id,
        "widget": job.spec.widget,
        "state": job.state.kind,
        "seed": job.spec.seed,
        "created": job.spec.created,
        "ended": job.ended,
        "attempt": job.attempt,
        "timings": {stage: round(seconds, 4) for stage, seconds in job.timings},
        "links": _links(signer, job),
    }
    match job.state:
        case Fetching(model, received, total, rate, left):
            told |= {"model": model, "received_bytes": received, "total_bytes": total}
            told |= {"bytes_per_second": rate, "seconds_left": left}
        case Queued(place, eta):
            told |= {"place": place, "eta": eta}
        case Running(backend, node, step, steps, nodes_done, nodes):
            told |= {"backend": backend, "node": node, "step": step, "steps": steps}
            told |= {"nodes_done": nodes_done, "nodes": nodes}
        case Succeeded(image, expires_at):
            told |= {"url": signer.url(image, expires_at), "expires_at": expires_at}
        case Failed(code, detail, fields):
            told |= {"code": code, "detail": detail}
            told["errors"] = [{"field": item.field, "message": item.message} for item in fields]
    if job.delivery is not None and job.delivery.state != "waiting":
        state, tries, answer, due = job.delivery.state, job.delivery.tries, job.delivery.answer, job.delivery.due
        told["webhook"] = {"state": state, "tries": tries, "answer": answer, "due": due}
    return told


def _links(signer: LinkSigner, job: Job) -> dict[str, str]:
    url = f"{signer.base_url}/jobs/{job.id}"
    links = {"self": url, "events": f"{url}/events", "prompt": f"{url}/prompt"}
    if job.spec.workflow:
        links |= {"workflow": f"{url}/workflow", "editor": editor_url(signer, job)}
    return links


def _answer(request: web.Request, job: Job, status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-store"} | answer_headers(job)
    if not job.has_ended:
        headers["Retry-After"] = str(_come_again(job))
    if status == 202:
        headers["Location"] = job_url(request, job.id)
    return web.json_response(described(request, job), status=status, headers=headers)


def _come_again(job: Job) -> int:
    """Whole seconds after which asking for the job is worth while."""
    match job.state:
        case Queued(eta=float(seconds)) | Fetching(seconds_left=float(seconds)):
            return max(1, min(60, round(seconds)))
    return 1


async def job_of(request: web.Request) -> Job:
    """The job that the path names. Raises JobNotFound, also when it is not the caller's affair: nobody learns of it."""
    job = await request.app[RECEPTION].job(request.match_info["id"])
    if not caller_of(request).sees(job.spec.owner):
        raise JobNotFound
    return job
