"""`/widgets`: list them, describe one, run one."""

from aiohttp import web

from orchestrator.api.decode import raw_values
from orchestrator.api.jobs import accepted, answer_headers, image_url
from orchestrator.api.keys import RECEPTION
from orchestrator.api.waiting import Asked, ended, submit
from orchestrator.widgets.schema import json_schema


async def list_widgets(request: web.Request) -> web.Response:
    """GET /widgets: each with whether a backend has the nodes that it is drawn with, and why not"""
    reception = request.app[RECEPTION]
    listed = []
    for name, widget in reception.widgets.items():
        lack = reception.pool.lack(widget.graph.classes)
        about = {"name": name, "title": widget.title, "description": widget.description, "url": f"/widgets/{name}"}
        listed.append(about | {"available": not lack} | ({"reason": lack} if lack else {}))
    return web.json_response({"widgets": listed})


async def describe_widget(request: web.Request) -> web.Response:
    """GET /widgets/{name}: its parameters as JSON Schema"""
    widget = request.app[RECEPTION].widget(request.match_info["name"])
    return web.json_response(json_schema(widget), content_type="application/schema+json")


async def run_widget(request: web.Request) -> web.Response:
    """POST /widgets/{name}: runs it, answers the link of its image, or at once with 202 and the job's address"""
    kept, wish = await submit(request, _asked)
    if wish.at_once:
        return accepted(request, await request.app[RECEPTION].job(kept.id))
    job = await ended(request, kept, wish)
    return web.json_response({"url": image_url(request, job)}, headers=answer_headers(job))


async def _asked(request: web.Request) -> Asked:
    return request.app[RECEPTION].widget(request.match_info["name"]).name, await raw_values(request)
