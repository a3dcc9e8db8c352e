"""Errors as RFC 9457 problems, or in the form that their route has for them: one table from class to status, one
middleware, never a traceback.
"""

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler

from orchestrator import errors
from orchestrator.api.keys import SIGNER

log = logging.getLogger(__name__)

RETRY: Mapping[type[errors.OrchestratorError], float] = {
    errors.NoBackend: 5.0,
    errors.ServiceStopping: 5.0,
    errors.StorageFull: 60.0,
    errors.ShelfFull: 60.0,
}
"""Seconds after which it may be otherwise, of errors that do not know it themselves: a backend or the service is back,
pictures have expired, or models are not in use any more."""
_LISTED = 20
SUBMITTED = web.RequestKey("submitted", str)
"""The id of the job that the request has brought about, or found under its key."""

IGNORED: web.RequestKey[Sequence[str]] = web.RequestKey("ignored")
"""The keys of the request's body that are no parameters."""

STATUS: Mapping[type[errors.OrchestratorError], int] = {
    errors.MalformedBody: 400,
    errors.BodyTooLarge: 413,
    errors.BodyTooSlow: 408,
    errors.EncodedBody: 415,
    errors.UnknownWidget: 404,
    errors.InvalidParameters: 422,
    errors.ImageNotFound: 404,
    errors.LinkExpired: 403,
    errors.JobNotFound: 404,
    errors.JobEnded: 409,
    errors.JobCancelled: 409,
    errors.KeyReused: 409,
    errors.WidgetExists: 409,
    errors.WorkflowRefused: 422,
    errors.KeyNeeded: 401,
    errors.NotPermitted: 403,
    errors.LimitReached: 429,
    errors.RequestError: 400,
    errors.ModelNotFound: 404,
    errors.ModelGone: 410,
    errors.ModelGated: 403,
    errors.ModelRegionBlocked: 451,
    errors.ModelMismatch: 422,
    errors.ModelUnavailable: 503,
    errors.DownloadFailed: 502,
    errors.ModelError: 422,
    errors.QueueFull: 429,
    errors.NoBackend: 503,
    errors.NoEditor: 404,
    errors.BackendTimeout: 504,
    errors.JobUnfinished: 504,
    errors.ServiceStopping: 503,
    errors.BackendError: 502,
    errors.StorageFull: 507,
    errors.ShelfFull: 507,
    errors.OrchestratorError: 500,
}
"""The nearest class in an error's ancestry counts."""


_LEVELS: Mapping[type[errors.OrchestratorError], int] = {
    errors.JobUnfinished: logging.INFO,
    errors.StorageFull: logging.WARNING,
    errors.ShelfFull: logging.WARNING,
}
"""How errors of 500 and more are logged that are no fault: a job that goes on, and a disk that is used as it was set.
"""


def status_of(error: errors.OrchestratorError) -> int:
    """The HTTP status of an error."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def headers_of(request: web.Request, error: errors.OrchestratorError) -> dict[str, str]:
    """`Retry-After` in whole seconds where coming again helps, and the job of a request that got as far as that."""
    headers = {}
    if isinstance(error, errors.KeyNeeded):
        headers["WWW-Authenticate"] = 'Bearer realm="orchestrator"'
    wait = error.retry_after
    if wait is None:
        wait = next((RETRY[kind] for kind in type(error).__mro__ if kind in RETRY), None)
    if wait is not None:
        headers["Retry-After"] = str(max(1, math.ceil(wait)))
    headers |= ignored_header(request.get(IGNORED, ()))
    if SUBMITTED in request:
        headers |= {"Location": job_url(request, request[SUBMITTED]), "X-Job-Id": request[SUBMITTED]}
    return headers


def ignored_header(names: Sequence[str]) -> dict[str, str]:
    """The keys that are no parameters as a header can carry them: percent-encoded, since they are the caller's text."""
    if not names:
        return {}
    shown = [quote(name[:64], safe=" ", errors="replace") for name in names[:_LISTED]]
    more = [f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return {"X-Ignored-Parameters": ", ".join(shown + more)}


def job_url(request: web.Request, job_id: str) -> str:
    """Where a job can be asked for."""
    return f"{request.app[SIGNER].base_url}/jobs/{job_id}"


@dataclass(frozen=True)
class Refusal:
    """What a caller is told of an error, whatever the form."""

    status: int
    code: str
    head: str
    """The kind of error, in a sentence."""
    detail: str
    fields: tuple[errors.FieldError, ...] = ()
    retryable: bool = False


Form = Callable[[web.Request, Refusal], web.Response]
FORMS: web.AppKey[Mapping[str, Form]] = web.AppKey("forms")
"""How the errors of a path are told that has a form of its own."""


def problem(
    status: int, code: str, detail: str, fields: tuple[errors.FieldError, ...] = (), retryable: bool = False
) -> web.Response:
    """An `application/problem+json` response."""
    body = {
        "type": "about:blank",
        "title": web.Response(status=status).reason,
        "status": status,
        "code": code,
        "detail": detail,
        "errors": [{"field": item.field, "message": item.message} for item in fields],
        "retryable": retryable,
    }
    return web.Response(status=status, text=json.dumps(body), content_type="application/problem+json")


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers every error that leaves a handler, or keeps a request from it."""
    try:
        return await handler(request)
    except errors.OrchestratorError as error:
        status, head = status_of(error), (type(error).__doc__ or "").split("\n")[0]
        if status >= 500:
            level = next((_LEVELS[kind] for kind in type(error).__mro__ if kind in _LEVELS), logging.ERROR)
            log.log(level, "%s %s: %s", request.method, request.path, error.detail, extra=_about(request))
        refusal = Refusal(status, error.code, head, error.detail, error.fields, error.retryable)
        return _told(request, refusal, headers_of(request, error))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        code = error.reason.lower().replace(" ", "_")
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return _told(request, Refusal(error.status, code, error.reason, error.text or error.reason), allow)
    except Exception:  # the edge of a request: whatever is left is our own fault, and is logged whole
        log.exception("%s %s failed", request.method, request.path, extra=_about(request))
        text = "The service failed; its log says why."
        return _told(request, Refusal(500, "internal_error", text, text), {})


def _about(request: web.Request) -> dict[str, str]:
    """What a line of the log says besides its text: the job of a request that got as far as that."""
    return {"job": request[SUBMITTED]} if SUBMITTED in request else {}


def _told(request: web.Request, refusal: Refusal, headers: Mapping[str, str]) -> web.Response:
    form = request.app[FORMS].get(request.path) if FORMS in request.app else None
    if form is not None:
        answer = form(request, refusal)
    else:
        answer = problem(refusal.status, refusal.code, refusal.detail, refusal.fields, refusal.retryable)
    answer.headers.update(headers)
    return answer
