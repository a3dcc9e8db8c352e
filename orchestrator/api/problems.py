"""Errors as RFC 9457 problems: one table from class to status, one middleware, never a traceback."""

import json
import logging
import math
from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler

from orchestrator import errors
from orchestrator.api.keys import SIGNER

log = logging.getLogger(__name__)

_RESTART_SECONDS = 5
"""After which a service that stops is likely to be back."""

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


def status_of(error: errors.OrchestratorError) -> int:
    """The HTTP status of an error."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def headers_of(request: web.Request, error: errors.OrchestratorError) -> dict[str, str]:
    """`Retry-After` in whole seconds, and the address of a job that goes on, where the error knows it."""
    if isinstance(error, errors.KeyNeeded):
        return {"WWW-Authenticate": 'Bearer realm="orchestrator"'}
    if isinstance(error, errors.QueueFull | errors.ModelUnavailable | errors.LimitReached):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
    if isinstance(error, errors.JobUnfinished):
        again = {"Retry-After": str(_RESTART_SECONDS)} if isinstance(error, errors.ServiceStopping) else {}
        return {"Location": job_url(request, error.job_id), "X-Job-Id": error.job_id} | again
    return {}


def job_url(request: web.Request, job_id: str) -> str:
    """Where a job can be asked for."""
    return f"{request.app[SIGNER].base_url}/jobs/{job_id}"


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
    """Answers every error that leaves a handler as a problem."""
    try:
        return await handler(request)
    except errors.OrchestratorError as error:
        status = status_of(error)
        if status >= 500:
            log.error("%s %s: %s", request.method, request.path, error.detail)
        answer = problem(status, error.code, error.detail, error.fields, error.retryable)
        answer.headers.update(headers_of(request, error))
        return answer
    except web.HTTPException as error:
        if error.status < 400:
            raise
        answer = problem(error.status, error.reason.lower().replace(" ", "_"), error.text or error.reason)
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    except Exception:  # the edge of a request: whatever is left is our own fault, and is logged whole
        log.exception("%s %s failed", request.method, request.path)
        return problem(500, "internal_error", "The service failed; its log says why.")
