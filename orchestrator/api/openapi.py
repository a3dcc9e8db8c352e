"""`/openapi.json`: the whole API in OpenAPI 3.1, made from the same definitions that check the requests."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version

from aiohttp import web

from orchestrator.api.access import PUBLIC
from orchestrator.api.described import (
    ACCEPTED,
    ANYTHING,
    ASKED,
    ASKED_OF_FILES,
    BACKENDS,
    EVENT,
    HAPPENINGS,
    HEADERS,
    JOB,
    LINK,
    OF_A_JOB,
    OF_FAILURES,
    OF_FILES,
    PROBLEM,
    PROBLEMS,
    RANGE,
    SCHEMES,
    TEXT,
    WHILE_IT_LASTS,
    Described,
)
from orchestrator.api.keys import API_KEYS, RECEPTION
from orchestrator.widgets.schema import json_schema
from orchestrator.widgets.widget import Widget

_IGNORED = "X-Ignored-Parameters"
_TEXTS_ALONE = ("anyOf", "type")
_BEFORE_A_JOB = ("400", "401", "408", "413", "415")
_OF_RUNS = tuple(status for status in PROBLEMS if status != "416")


def _json(description: str, schema: Described, headers: Described | None = None) -> Described:
    told: Described = {"description": description, "content": {"application/json": {"schema": schema}}}
    return told | ({"headers": headers} if headers else {})


def _failures(*statuses: str) -> Described:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": PROBLEMS[status], "content": content, "headers": OF_FAILURES.get(status, {})}
        for status in statuses
    }


def _of_runs(failures: Described) -> Described:
    """The same, naming the job and the ignored keys of a request that got as far as that."""
    for status, failure in failures.items():
        if status not in _BEFORE_A_JOB:
            failure["headers"] = OF_FAILURES.get(status, {}) | OF_A_JOB | {_IGNORED: HEADERS[_IGNORED]}
    return failures


def _operation(
    name: str, summary: str, responses: Described, parameters: Sequence[Described] = (), **more: object
) -> Described:
    return {"operationId": name, "summary": summary, "parameters": list(parameters), "responses": responses, **more}


def _parameter(name: str, place: str) -> Described:
    return {"name": name, "in": place, "required": True, "schema": {"type": "string"}}


def _widget_path(widget: Widget) -> Described:
    schema = json_schema(widget)
    body = {"application/json": {"schema": schema}, "multipart/form-data": {"schema": _as_form(schema)}}
    done = _json("The image's temporary link", LINK, HEADERS)
    return {
        "get": _operation(
            f"describe_{widget.name}",
            f"{widget.title}: its parameters as JSON Schema",
            {"200": {"description": "Schema"}},
        ),
        "post": _operation(
            f"run_{widget.name}",
            widget.title,
            {"200": done, "202": _kept(), **_of_runs(_failures(*_OF_RUNS))},
            ASKED,
            description=widget.description,
            requestBody={"required": True, "content": body},
        ),
    }


def _as_form(schema: Described) -> Described:
    """The same with pictures as files, for programs that make code of it; text is taken in their place, too."""
    properties: Described = {}
    for name, said in schema["properties"].items():
        file = {"type": "string", "format": "binary"} | {word: said[word] for word in said if word not in _TEXTS_ALONE}
        properties[name] = file if said["x-type"] in ("picture", "mask") else said
    return schema | {"properties": properties}


def _publishing_path() -> Described:
    flag: Described = {"type": "boolean", "default": False}
    properties = {
        "workflow": {"type": "object", "description": "What ComfyUI's editor saves"},
        "replace": flag
        | {"description": "May take the place of a widget; of its widget.yaml title and description alone change"},
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
    told = {status: _json(PROBLEMS[status], {"type": "object"}, OF_FAILURES.get(status)) for status in _OF_RUNS}
    answers = _of_runs(told)
    request = {"required": True, "content": {"application/json": {"schema": body}}}
    done = _json("The widget's result, a JSON string", result, HEADERS)
    return {
        "post": _operation(
            "run_myshell_widget",
            "Run a widget in MyShell's envelope",
            {"200": done, "202": _kept(), **answers},
            ASKED,
            requestBody=request,
        )
    }


def _kept() -> Described:
    return _json("The job, for who asked not to wait", _job(), ACCEPTED)


def _job() -> Described:
    return {"$ref": "#/components/schemas/Job"}


def _job_paths() -> Described:
    """What can be done with a job."""
    which = [_parameter("id", "path")]
    last = {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string", "pattern": "^[0-9]{1,15}$"}}
    stream = {"description": "Server-sent events to the job's end", "content": {"text/event-stream": {"schema": EVENT}}}
    heard: Described = {"description": "The end was heard already"}
    told = _json("The job", _job(), WHILE_IT_LASTS)
    graph = _json("The graph in ComfyUI's API format", {"type": "object"})
    drawn = _json("The workflow as ComfyUI's editor saves it", {"type": "object"})
    signed = [_parameter("expires", "query"), _parameter("signature", "query")]
    way = {"description": "To the editor, which shows the job", "headers": {"Location": {"schema": TEXT}}}
    led = {"303": way, **_failures("403", "404", "502", "503")}
    cancelled = {"200": told, "202": _json("Its backend is being told", _job(), ACCEPTED), **_failures("404", "409")}
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


def _told(name: str, summary: str, what: str, schema: Described = ANYTHING) -> Described:
    """A plain GET that is answered with JSON."""
    return {"get": _operation(name, summary, {"200": _json(what, schema)})}


def _file_paths() -> Described:
    """What is fetched by signed links."""
    signed = [_parameter("expires", "query"), _parameter("signature", "query")]
    image = _file("image", "image/jpeg", "image/png")
    model = _file("file", "application/octet-stream")
    refused = _failures("403", "404")
    beyond = _failures("416")["416"] | {"headers": RANGE}
    key, sha256 = _parameter("key", "path"), _parameter("sha256", "path")
    return {
        "/images/{key}": {
            "get": _operation(
                "get_image", "A rendered image", image | refused | {"416": beyond}, [key, *signed, *ASKED_OF_FILES]
            )
        },
        "/models/{sha256}": {
            "get": _operation(
                "get_model",
                "A model's file for a backend",
                model | refused | {"416": {"description": PROBLEMS["416"], "headers": RANGE}},
                [sha256, *signed, *ASKED_OF_FILES],
            )
        },
    }


def _file(what: str, *kinds: str) -> Described:
    """A file's answers that are no refusals."""
    content: Described = {kind: {} for kind in kinds}
    return {
        "200": {"description": f"The {what}", "content": content, "headers": OF_FILES},
        "206": {"description": f"A part of the {what}", "content": content, "headers": OF_FILES | RANGE},
        "304": {"description": "Nothing has changed", "headers": OF_FILES},
    }


def _state_paths() -> Described:
    """What the service has, and how it fares."""
    metrics = {"200": {"description": "Metrics", "content": {"text/plain": {}}}}
    ready = {"200": _json("Ready", ANYTHING), "503": _json("Not yet", ANYTHING)}
    return {
        "/backends": _told("list_backends", "Every backend as it is now", "Backends", BACKENDS),
        "/samplers": _told("list_samplers", "WebUI's samplers, and what runs", "Samplers"),
        "/models": _told("list_models", "Models that are here", "Models"),
        "/metrics": {"get": _operation("metrics", "For Prometheus", metrics)},
        "/healthz": _told("healthz", "Alive", "Alive"),
        "/readyz": {"get": _operation("readyz", "Ready for a job", ready)},
        "/openapi.json": _told("openapi", "This document", "OpenAPI 3.1"),
    }


def describe(widgets: Mapping[str, Widget], *, keyed: bool = False) -> Described:
    """The OpenAPI document of a service with these widgets; `keyed` where it asks for API keys."""
    paths: Described = {
        "/widgets": _told("list_widgets", "Every widget", "The widgets"),
        **{f"/widgets/{name}": _widget_path(widget) for name, widget in widgets.items()},
        "/widgets/{name}": _publishing_path(),
        "/public/v1/widget/run": _myshell_path(),
        **_file_paths(),
        **_job_paths(),
        **_state_paths(),
    }
    document: Described = {
        "openapi": "3.1.0",
        "info": {"title": "ComfyUI orchestrator", "version": version("comfy-orchestrator")},
        "paths": paths,
        "webhooks": _webhooks(),
        "components": {"schemas": {"Problem": PROBLEM, "Job": JOB, **HAPPENINGS}},
    }
    if keyed:
        document["paths"] = _guarded(paths)
        document["components"]["securitySchemes"] = SCHEMES
        document["security"] = [{name: []} for name in SCHEMES]
    return document


async def get_openapi(request: web.Request) -> web.Response:
    """GET /openapi.json"""
    return web.json_response(describe(request.app[RECEPTION].widgets, keyed=request.app[API_KEYS] is not None))
