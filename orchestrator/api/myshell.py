"""`/public/v1/widget/run`: the envelope that MyShell's runtime speaks around a widget.

`{"widget_id", "input"}`, where input is a JSON object or a string that holds one, is answered with
`{"success": true, "result": "<JSON string>"}`; errors keep their status and say `"success": false`. Who asks not to
wait gets the job, as it is told everywhere else.
"""

import json
from collections.abc import Mapping

from aiohttp import web

from orchestrator.api.body import BadBody, parse_json
from orchestrator.api.decode import json_object
from orchestrator.api.jobs import accepted, answer_headers, image_url
from orchestrator.api.keys import RECEPTION
from orchestrator.api.problems import Refusal
from orchestrator.api.waiting import Asked, ended, submit
from orchestrator.errors import FieldError, InvalidParameters
from orchestrator.widgets.literals import meant

WIDGET_IDS: Mapping[str, str] = {"1782399147535691776": "inpaint"}
"""MyShell's id of a widget to its name here; a name is taken too."""

PATH = "/public/v1/widget/run"
_TRACE = "x-myshell-openapi-trace-id"


async def run_widget(request: web.Request) -> web.Response:
    """POST /public/v1/widget/run"""
    kept, wish = await submit(request, _asked)
    if wish.at_once:
        answer = accepted(request, await request.app[RECEPTION].job(kept.id))
        answer.headers.update(_trace(request))
        return answer
    job = await ended(request, kept, wish)
    result = {"success": True, "result": json.dumps({"url": image_url(request, job)})}
    return web.json_response(result, headers=answer_headers(job) | _trace(request))


async def _asked(request: web.Request) -> Asked:
    envelope = await json_object(request)
    return _widget_name(envelope), await _input(envelope)


def _widget_name(envelope: Mapping[str, object]) -> str:
    given = str(envelope.get("widget_id", ""))
    return WIDGET_IDS.get(given, given)


async def _input(envelope: Mapping[str, object]) -> Mapping[str, object]:
    if "input" not in envelope:
        unknown = [key for key in envelope if key != "widget_id"]
        raise InvalidParameters(None, [FieldError("input", f"is required{meant('input', unknown)}")])
    given = envelope["input"]
    if isinstance(given, str | bytes):
        try:
            given = await parse_json(given.encode() if isinstance(given, str) else given)
        except BadBody:
            given = None
    if not isinstance(given, dict):
        raise InvalidParameters(None, [FieldError("input", "must be a JSON object, or a string that holds one")])
    return given


def failure(request: web.Request, refusal: Refusal) -> web.Response:
    """An error in the envelope, whatever part of the service it comes from."""
    body = {
        "success": False,
        "error_code": refusal.code,
        "error_head": refusal.head,
        "msg": refusal.detail,
        "errors": [{"field": item.field, "message": item.message} for item in refusal.fields],
        "retryable": refusal.retryable,
    }
    return web.json_response(body, status=refusal.status, headers=_trace(request))


def _trace(request: web.Request) -> dict[str, str]:
    return {_TRACE: request.headers[_TRACE]} if _TRACE in request.headers else {}
