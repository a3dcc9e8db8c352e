"""`/jobs/{id}/open`: a signed link that opens a job in the editor of the backend that it ran on."""

import ipaddress
import time

from aiohttp import web

from orchestrator.api.keys import OPENER, RECEPTION, SIGNER
from orchestrator.images.links import LinkSigner
from orchestrator.jobs.job import Job, Succeeded

_HOURS = 4
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


def editor_url(signer: LinkSigner, job: Job) -> str:
    """A link that a browser can follow without an API key."""
    expires = job.state.expires_at if isinstance(job.state, Succeeded) else time.time() + _HOURS * 3600
    return signer.beside("jobs").url(f"{job.id}/open", expires)


async def open_job(request: web.Request) -> web.Response:
    """GET /jobs/{id}/open?expires=…&signature=…: 303 to the editor

    Puts the job's pictures and its workflow where that editor finds them: the same ones each time, of a bounded number
    of jobs. So following the link twice does no harm; a browser that only fetches it ahead is refused all the same.
    """
    if "prefetch" in request.headers.get("Sec-Purpose", request.headers.get("Purpose", "")):
        raise web.HTTPServiceUnavailable(text="This link is opened when it is followed, not before")
    job_id, query = request.match_info["id"], request.query
    signer = request.app[SIGNER].beside("jobs")
    signer.check(f"{job_id}/open", query.get("expires", ""), query.get("signature", ""), time.time())
    job = await request.app[RECEPTION].job(job_id)
    address = await request.app[OPENER].open(job, on_this_machine=_is_near(request))
    headers = {"Location": address, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return web.Response(status=303, headers=headers)


def _is_near(request: web.Request) -> bool:
    """True for a caller on this machine, and not behind a proxy on it."""
    try:
        near = ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        return False
    return near and not any(name in request.headers for name in _FORWARDED)
