"""`/widgets`: list them, describe one, run one."""

from collections.abc import Sequence
from urllib.parse import quote

from aiohttp import web

from orchestrator.api.decode import raw_values
from orchestrator.api.keys import ADMISSION, OUTPUT_FORMAT, PIPELINE
from orchestrator.images.encode import OutputFormat
from orchestrator.pipeline import Answer, WidgetRequest
from orchestrator.widgets.schema import json_schema

_LISTED = 20


async def list_widgets(request: web.Request) -> web.Response:
    """GET /widgets"""
    widgets = request.app[PIPELINE].widgets
    listed = [
        {"name": name, "title": widget.title, "description": widget.description, "url": f"/widgets/{name}"}
        for name, widget in widgets.items()
    ]
    return web.json_response({"widgets": listed})


async def describe_widget(request: web.Request) -> web.Response:
    """GET /widgets/{name}: its parameters as JSON Schema"""
    widget = request.app[PIPELINE].widget(request.match_info["name"])
    return web.json_response(json_schema(widget), content_type="application/schema+json")


async def run_widget(request: web.Request) -> web.Response:
    """POST /widgets/{name}: runs it, answers the link of its image"""
    pipeline = request.app[PIPELINE]
    name = pipeline.widget(request.match_info["name"]).name
    with request.app[ADMISSION].enter():
        answer = await pipeline.run(WidgetRequest(name, await raw_values(request), output_format(request)))
    return web.json_response({"url": answer.url}, headers=answer_headers(answer))


def output_format(request: web.Request) -> OutputFormat:
    """What the caller accepts by name, else the operator's choice."""
    accepted = request.headers.get("Accept", "")
    if "image/png" in accepted:
        return "png"
    if "image/jpeg" in accepted:
        return "jpeg"
    return request.app[OUTPUT_FORMAT]


def answer_headers(answer: Answer) -> dict[str, str]:
    """Job id, seed, the parameters that were ignored, and how long each stage took (milliseconds, `Server-Timing`)."""
    headers = {
        "X-Job-Id": answer.job_id,
        "Server-Timing": ", ".join(f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in answer.timings),
    }
    if answer.seed is not None:
        headers["X-Seed"] = str(answer.seed)
    if answer.ignored:
        headers["X-Ignored-Parameters"] = _listed(answer.ignored)
    return headers


def _listed(names: Sequence[str]) -> str:
    """Names as a header can carry them: percent-encoded, since they are the caller's own text."""
    shown = [quote(name[:64], safe=" ", errors="replace") for name in names[:_LISTED]]
    return ", ".join(shown + ([f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else []))
