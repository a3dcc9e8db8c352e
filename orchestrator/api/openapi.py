"""`/openapi.json`: the whole API in OpenAPI 3.1, made from the same definitions that check the requests."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from aiohttp import web

from orchestrator.api.access import PUBLIC
from orchestrator.api.keys import API_KEYS, RECEPTION
from orchestrator.widgets.schema import json_schema
from orchestrator.widgets.widget import Widget

Described = dict[str, Any]
"""A part of the document, as JSON."""

_PROBLEM: Described = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail", "errors", "retryable"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
        "retryable": {"type": "boolean"},
    },
}
_LINK: Described = {"type": "object", "required": ["url"], "properties": {"url": {"type": "string", "format": "uri"}}}
_HEADERS: Described = {
    "X-Job-Id": {"description": "The job's id, for `GET /jobs/{id}`", "schema": {"type": "string", "format": "uuid"}},
    "X-Seed": {"description": "The seed that was used", "schema": {"type": "integer"}},
    "X-Ignored-Parameters": {"description": "Keys that the widget does not know", "schema": {"type": "string"}},
    "Server-Timing": {"description": "Milliseconds of each stage", "schema": {"type": "string"}},
}
_PROBLEMS: Mapping[str, str] = {
    "400": "The body is not what its content type says",
    "401": "An API key is needed, or is not known",
    "403": "The API key lacks the right; the link has expired or is not of this service; Civitai gives not to all",
    "404": "No such widget, model, job or image",
    "408": "The body came too slowly",
    "409": "The Idempotency-Key came with another request; or the job was cancelled, or had ended before it could be",
    "410": "The model was taken away at Civitai",
    "413": "The body is too large",
    "415": "The body is compressed",
    "422": "Parameters, pictures or models that cannot be used, each named",
    "429": "Too many jobs are waiting, or a limit of the API key is reached; see Retry-After",
    "451": "Civitai does not serve this service's region",
    "502": "The backend failed, or a model that came is not the one promised",
    "503": "No backend can run this now, Civitai does not answer, or the service stops; see Retry-After, Location",
    "504": "The backend took too long; or the wait is over and the job goes on, see Location",
    "507": "The image store or the shelf of models is full",
}


_TEXT: Described = {"type": "string"}
_ASKED: Sequence[Described] = (
    {
        "name": "Prefer",
        "in": "header",
        "description": "`respond-async` answers with 202 at once, `wait=20` after so many seconds at the latest",
        "schema": _TEXT,
    },
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The same request under the same key is the same job, however often it is sent",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
    {"name": "X-Priority", "in": "header", "schema": {"enum": ["high", "normal", "low"], "default": "normal"}},
    {
        "name": "X-Cancel-On-Disconnect",
        "in": "header",
        "description": "`true` cancels the job when its caller hangs up",
        "schema": {"enum": ["true", "false"], "default": "false"},
    },
    {
        "name": "X-Webhook-URL",
        "in": "header",
        "description": "Where the job's end is posted, see `webhooks`",
        "schema": {"type": "string", "format": "uri", "maxLength": 2048},
    },
)
_JOB: Described = {
    "type": "object",
    "required": ["id", "widget", "state", "seed", "created", "ended", "attempt", "timings", "links"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "widget": _TEXT,
        "state": {"enum": ["fetching", "queued", "running", "succeeded", "failed", "cancelled"]},
        "seed": {"type": ["integer", "null"]},
        "created": {"type": "number", "description": "Seconds since the epoch"},
        "ended": {"type": ["number", "null"], "description": "Seconds since the epoch"},
        "attempt": {"type": "integer", "description": "Which run this is; a job whose backend is lost runs again"},
        "timings": {
            "type": "object",
            "additionalProperties": {"type": "number"},
            "description": "Seconds of each stage",
        },
        "links": {"type": "object", "additionalProperties": {"type": "string", "format": "uri"}},
        "model": {"type": "string", "description": "fetching: the model that is on its way"},
        "received_bytes": {"type": "integer", "description": "fetching"},
        "total_bytes": {"type": ["integer", "null"], "description": "fetching"},
        "bytes_per_second": {"type": "integer", "description": "fetching: 0 while unknown"},
        "seconds_left": {"type": ["number", "null"], "description": "fetching: of this model"},
        "place": {"type": "integer", "description": "queued: jobs that are before it"},
        "eta": {"type": ["number", "null"], "description": "queued: seconds until it is expected to have ended"},
        "backend": {"type": "string", "description": "running"},
        "node": {"type": "string", "description": "running: title of the node at work"},
        "step": {"type": "integer"},
        "steps": {"type": "integer"},
        "nodes_done": {"type": "integer"},
        "nodes": {"type": "integer"},
        "url": {"type": "string", "format": "uri", "description": "succeeded: the image's temporary link"},
        "expires_at": {"type": "number", "description": "succeeded: seconds since the epoch"},
        "code": {"type": "string", "description": "failed: the error's class as a word"},
        "detail": {"type": "string", "description": "failed"},
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": {"field": _TEXT, "message": _TEXT}},
            "description": "failed: complaints about single fields of the request",
        },
        "webhook": {
            "type": "object",
            "description": "Once the job has ended: how the word of it fares",
            "properties": {
                "state": {"enum": ["pending", "delivered", "dead"]},
                "tries": {"type": "integer"},
                "answer": {"type": "string", "description": "What came of the last try"},
                "due": {"type": ["number", "null"], "description": "When it is tried next; seconds since the epoch"},
            },
        },
    },
}


_BACKEND: Described = {
    "type": "object",
    "required": ["name", "kind", "url", "state", "since", "running", "queued", "jobs"],
    "properties": {
        "name": _TEXT,
        "kind": {"enum": ["remote", "managed", "embedded"]},
        "url": _TEXT,
        "state": {"enum": ["starting", "connecting", "ready", "lost", "quarantined"]},
        "since": {"type": "number", "description": "Seconds since the epoch"},
        "reason": {"type": ["string", "null"], "description": "Why it is not ready"},
        "uptime_seconds": {"type": ["number", "null"]},
        "model": {"type": ["string", "null"], "description": "The checkpoint that it ran last"},
        "running": {"type": "array", "items": _TEXT, "description": "Ids of jobs"},
        "queued": {"type": "array", "items": _TEXT, "description": "Ids of jobs on their way, or in its queue"},
        "jobs": {"type": "object", "additionalProperties": {"type": "integer"}},
        "last_failure": {"type": ["string", "null"]},
        "pid": {"type": ["integer", "null"]},
        "starts": {"type": ["integer", "null"], "description": "Of its process, where the service starts it"},
        "comfyui_version": {"type": ["string", "null"]},
        "devices": {"type": ["array", "null"], "items": {"type": "object"}},
        "deletes_results": {"type": ["boolean", "null"]},
        "lacks": {"type": ["object", "null"], "description": "Node classes, by the widget that needs them"},
    },
}
_BACKENDS: Described = {"type": "object", "properties": {"backends": {"type": "array", "items": _BACKEND}}}
_SCHEMES: Described = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def _json(description: str, schema: Described) -> Described:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _failures(*statuses: str) -> Described:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _PROBLEMS[status], "content": content} for status in statuses}


def _operation(
    name: str, summary: str, responses: Described, parameters: Sequence[Described] = (), **more: object
) -> Described:
    return {"operationId": name, "summary": summary, "parameters": list(parameters), "responses": responses, **more}


def _parameter(name: str, place: str) -> Described:
    return {"name": name, "in": place, "required": True, "schema": {"type": "string"}}


def _widget_path(widget: Widget) -> Described:
    schema = json_schema(widget)
    body = {kind: {"schema": schema} for kind in ("application/json", "multipart/form-data")}
    done = _json("The image's temporary link", _LINK) | {"headers": _HEADERS}
    kept = _json("The job, for who asked not to wait", _job()) | {"headers": _HEADERS | {"Location": {"schema": _TEXT}}}
    return {
        "get": _operation(
            f"describe_{widget.name}",
            f"{widget.title}: its parameters as JSON Schema",
            {"200": {"description": "Schema"}},
        ),
        "post": _operation(
            f"run_{widget.name}",
            widget.title,
            {"200": done, "202": kept, **_failures(*_PROBLEMS)},
            _ASKED,
            description=widget.description,
            requestBody={"required": True, "content": body},
        ),
    }


def _publishing_path() -> Described:
    flag: Described = {"type": "boolean", "default": False}
    properties = {
        "workflow": {"type": "object", "description": "What ComfyUI's editor saves"},
        "replace": flag | {"description": "May take the place of a widget that is there, whose widget.yaml is kept"},
        "anew": flag | {"description": "Proposes a new widget.yaml where one is replaced"},
        "dry_run": flag | {"description": "Writes nothing"},
        "title": {"type": "string", "maxLength": 2000},
        "description": {"type": "string", "maxLength": 2000},
    }
    body: Described = {
        "type": "object",
        "required": ["workflow"],
        "properties": properties,
        "additionalProperties": False,
    }
    told = _json("What came of it, in sentences, and the widget's page", {"type": "object"})
    answers = {"200": told, "201": told, **_failures("400", "403", "408", "409", "413", "415", "422", "507")}
    request = {"required": True, "content": {"application/json": {"schema": body}}}
    name = [_parameter("name", "path")]
    return {"put": _operation("publish_widget", "Publish a workflow as a widget", answers, name, requestBody=request)}


def _myshell_path() -> Described:
    body = {
        "type": "object",
        "required": ["widget_id", "input"],
        "properties": {"widget_id": {"type": "string"}, "input": {"type": ["string", "object"]}},
    }
    result = {"type": "object", "properties": {"success": {"type": "boolean"}, "result": {"type": "string"}}}
    answers = {status: _json(text, {"type": "object"}) for status, text in _PROBLEMS.items()}
    request = {"required": True, "content": {"application/json": {"schema": body}}}
    done = _json("The widget's result, a JSON string", result)
    return {
        "post": _operation(
            "run_myshell_widget",
            "Run a widget in MyShell's envelope",
            {"200": done, **answers},
            _ASKED,
            requestBody=request,
        )
    }


def _job() -> Described:
    return {"$ref": "#/components/schemas/Job"}


def _job_paths() -> Described:
    """What can be done with a job."""
    which = [_parameter("id", "path")]
    last = {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string", "pattern": "^[0-9]{1,15}$"}}
    event = {"type": "object", "properties": {"id": _TEXT, "event": _TEXT, "data": _TEXT}}
    stream = {"description": "Server-sent events to the job's end", "content": {"text/event-stream": {"schema": event}}}
    heard: Described = {"description": "The end was heard already"}
    told = _json("The job", _job())
    graph = _json("The graph in ComfyUI's API format", {"type": "object"})
    drawn = _json("The workflow as ComfyUI's editor saves it", {"type": "object"})
    signed = [_parameter("expires", "query"), _parameter("signature", "query")]
    led = {"303": {"description": "To the editor, which shows the job"}, **_failures("403", "404", "502", "503")}
    cancelled = {"200": told, "202": _json("Its backend is being told", _job()), **_failures("404", "409")}
    heard_all = {"200": stream, "204": heard, **_failures("404", "422")}
    return {
        "/jobs/{id}": {
            "get": _operation("get_job", "Where a job stands", {"200": told, **_failures("404")}, which),
            "delete": _operation("cancel_job", "Cancel a job, queued or running", cancelled, which),
        },
        "/jobs/{id}/events": {"get": _operation("get_events", "What happens to a job", heard_all, [*which, last])},
        "/jobs/{id}/prompt": {
            "get": _operation("get_prompt", "The graph as it ran", {"200": graph, **_failures("404")}, which)
        },
        "/jobs/{id}/workflow": {
            "get": _operation(
                "get_workflow", "The same in the artist's layout", {"200": drawn, **_failures("404")}, which
            )
        },
        "/jobs/{id}/open": {"get": _operation("open_job", "Open a job in its editor", led, [*which, *signed])},
    }


def _webhooks() -> Described:
    """What the service posts to the address that a run named."""
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    kind = {"enum": ["job.succeeded", "job.failed", "job.cancelled"]}
    told = {"type": kind, "timestamp": {"type": "string", "format": "date-time"}, "data": _job()}
    word = {"type": "object", "required": list(told), "properties": told}
    post = {
        "operationId": "job_ended",
        "summary": "A job has ended; signed as Standard Webhooks describes, sent at least once",
        "parameters": [_parameter(name, "header") for name in names],
        "requestBody": {"required": True, "content": {"application/json": {"schema": word}}},
        "responses": {
            "2XX": {"description": "Taken"},
            "410": {"description": "Not to be tried again"},
            "default": {"description": "To be tried again, for about a day"},
        },
    }
    return {"job.ended": {"post": post}}


def _guarded(paths: Described) -> Described:
    """The same where keys are asked for: each operation says that it needs one, and what comes without."""
    for path, operations in paths.items():
        for operation in operations.values():
            if path in PUBLIC:
                operation["security"] = []
            else:
                operation["responses"] = _failures("401", "403") | operation["responses"]
    return paths


def describe(widgets: Mapping[str, Widget], *, keyed: bool = False) -> Described:
    """The OpenAPI document of a service with these widgets; `keyed` where it asks for API keys."""
    anything: Described = {"type": "object"}
    image = {"description": "The image", "content": {"image/jpeg": {}, "image/png": {}}}
    signed = [_parameter("key", "path"), _parameter("expires", "query"), _parameter("signature", "query")]
    fetched = {"200": image, **_failures("403", "404")}
    model = {"200": {"description": "The file", "content": {"application/octet-stream": {}}}, **_failures("403", "404")}
    by_content = [_parameter("sha256", "path"), *signed[1:]]
    paths: Described = {
        "/widgets": {"get": _operation("list_widgets", "Every widget", {"200": _json("The widgets", anything)})},
        **{f"/widgets/{name}": _widget_path(widget) for name, widget in widgets.items()},
        "/widgets/{name}": _publishing_path(),
        "/backends": {
            "get": _operation("list_backends", "Every backend as it is now", {"200": _json("Backends", _BACKENDS)})
        },
        "/samplers": {
            "get": _operation("list_samplers", "WebUI's samplers, and what runs", {"200": _json("Samplers", anything)})
        },
        "/public/v1/widget/run": _myshell_path(),
        "/images/{key}": {"get": _operation("get_image", "A rendered image", fetched, signed)},
        "/models": {"get": _operation("list_models", "Models that are here", {"200": _json("Models", anything)})},
        "/models/{sha256}": {"get": _operation("get_model", "A model's file for a backend", model, by_content)},
        **_job_paths(),
        "/metrics": {
            "get": _operation(
                "metrics", "For Prometheus", {"200": {"description": "Metrics", "content": {"text/plain": {}}}}
            )
        },
        "/healthz": {"get": _operation("healthz", "Alive", {"200": _json("Alive", anything)})},
        "/readyz": {
            "get": _operation(
                "readyz", "Ready for a job", {"200": _json("Ready", anything), "503": _json("Not yet", anything)}
            )
        },
        "/openapi.json": {"get": _operation("openapi", "This document", {"200": _json("OpenAPI 3.1", anything)})},
    }
    document: Described = {
        "openapi": "3.1.0",
        "info": {"title": "ComfyUI orchestrator", "version": version("comfy-orchestrator")},
        "paths": paths,
        "webhooks": _webhooks(),
        "components": {"schemas": {"Problem": _PROBLEM, "Job": _JOB}},
    }
    if keyed:
        document["paths"] = _guarded(paths)
        document["components"]["securitySchemes"] = _SCHEMES
        document["security"] = [{name: []} for name in _SCHEMES]
    return document


async def get_openapi(request: web.Request) -> web.Response:
    """GET /openapi.json"""
    return web.json_response(describe(request.app[RECEPTION].widgets, keyed=request.app[API_KEYS] is not None))
