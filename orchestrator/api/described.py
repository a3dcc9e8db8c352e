"""What the API's answers look like, as JSON Schema: the parts that the OpenAPI document refers to."""

from collections.abc import Mapping, Sequence
from typing import Any

Described = dict[str, Any]
"""A part of the document, as JSON."""

PROBLEM: Described = {
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
LINK: Described = {"type": "object", "required": ["url"], "properties": {"url": {"type": "string", "format": "uri"}}}
_ID: Described = {"description": "The job's id, for `GET /jobs/{id}`", "schema": {"type": "string", "format": "uuid"}}
_PLACE: Described = {"description": "The job's address", "schema": {"type": "string", "format": "uri"}}
_AGAIN: Described = {
    "description": "Seconds after which to come again",
    "schema": {"type": "integer", "minimum": 1},
}
HEADERS: Described = {
    "X-Job-Id": _ID | {"required": True},
    "X-Seed": {"description": "The seed that was used", "schema": {"type": "integer"}},
    "X-Ignored-Parameters": {
        "description": "Keys that the widget does not know: the first 20, percent-encoded, and how many more there are",
        "schema": {"type": "string"},
    },
    "Server-Timing": {"description": "Milliseconds of each stage", "schema": {"type": "string"}},
}
"""Of every answer about a job."""
WHILE_IT_LASTS: Described = HEADERS | {"Retry-After": _AGAIN}
"""Of an answer that tells a job as it stands: not once it has ended."""
ACCEPTED: Described = WHILE_IT_LASTS | {"Location": _PLACE | {"required": True}}
"""Of a 202."""
OF_A_JOB: Described = {"X-Job-Id": _ID, "Location": _PLACE}
"""Of a failure, once its request has a job."""
OF_FAILURES: Mapping[str, Described] = {
    "401": {"WWW-Authenticate": {"schema": {"type": "string"}}},
    **{status: {"Retry-After": _AGAIN} for status in ("429", "503", "507")},
}
OF_FILES: Described = {
    "ETag": {"schema": {"type": "string"}},
    "Last-Modified": {"schema": {"type": "string"}},
}
RANGE: Described = {
    "Content-Range": {"required": True, "schema": {"type": "string", "pattern": "^bytes ([0-9]+-[0-9]+|[*])/[0-9]+$"}}
}
PROBLEMS: Mapping[str, str] = {
    "400": "The body is not what its content type says",
    "401": "An API key is needed, or is not known",
    "403": "The API key lacks the right; the link has expired or is not of this service; Civitai gives not to all",
    "404": "No such widget, model, job or image",
    "408": "The body came too slowly",
    "409": "The Idempotency-Key came with another request; or the job was cancelled, or had ended before it could be",
    "410": "The model was taken away at Civitai",
    "413": "The body is too large",
    "415": "The body is compressed",
    "416": "No byte of the file is in the range",
    "422": "Parameters, pictures or models that cannot be used, each named",
    "429": "Too many jobs are waiting, or a limit of the API key is reached; see Retry-After",
    "451": "Civitai does not serve this service's region",
    "502": "The backend failed, or a model that came is not the one promised",
    "503": "No backend can run this now, Civitai does not answer, or the service stops; see Retry-After, Location",
    "504": "The backend took too long; or the wait is over and the job goes on, see Location",
    "507": "The image store or the shelf of models is full; see Retry-After",
}


TEXT: Described = {"type": "string"}
ANYTHING: Described = {"type": "object"}
ASKED: Sequence[Described] = (
    {
        "name": "Prefer",
        "in": "header",
        "description": "`respond-async` answers with 202 at once, `wait=20` after so many seconds at the latest",
        "schema": TEXT,
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
ASKED_OF_FILES: Sequence[Described] = (
    {"name": "Range", "in": "header", "description": "The part that is wanted", "schema": TEXT},
    {"name": "If-None-Match", "in": "header", "description": "The ETag of what is there already", "schema": TEXT},
)
_FETCHING: Described = {
    "model": {"type": "string", "description": "fetching: the model that is on its way"},
    "received_bytes": {"type": "integer", "description": "fetching"},
    "total_bytes": {"type": ["integer", "null"], "description": "fetching"},
    "bytes_per_second": {"type": "integer", "description": "fetching: 0 while unknown"},
    "seconds_left": {"type": ["number", "null"], "description": "fetching: of this model"},
}
_QUEUED: Described = {
    "place": {"type": "integer", "description": "queued: jobs that are before it"},
    "eta": {"type": ["number", "null"], "description": "queued: seconds until it is expected to have ended"},
}
_RUNNING: Described = {
    "backend": {"type": "string", "description": "running"},
    "node": {"type": "string", "description": "running: title of the node at work"},
    "step": {"type": "integer", "description": "running: of that node"},
    "steps": {"type": "integer", "description": "running: 0 before its first"},
    "nodes_done": {"type": "integer", "description": "running"},
    "nodes": {"type": "integer", "description": "running"},
}
JOB: Described = {
    "type": "object",
    "required": ["id", "widget", "state", "seed", "created", "ended", "attempt", "timings", "links"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "widget": TEXT,
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
        **_FETCHING,
        **_QUEUED,
        **_RUNNING,
        "url": {"type": "string", "format": "uri", "description": "succeeded: the image's temporary link"},
        "expires_at": {"type": "number", "description": "succeeded: seconds since the epoch"},
        "code": {"type": "string", "description": "failed: the error's class as a word"},
        "detail": {"type": "string", "description": "failed"},
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": {"field": TEXT, "message": TEXT}},
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
_REQUEUED: Described = {
    "reason": {"type": "string", "description": "Why its backend was lost"},
    "attempt": {"type": "integer", "description": "The run that comes"},
}
_PREVIEW: Described = {
    "image": {"type": "string", "format": "uri", "description": "The picture so far as a data URL"},
    "node": {"type": "string", "description": "Title of the node that makes it"},
}
_HAPPENINGS: Mapping[str, Described] = {
    "fetching": _FETCHING,
    "queued": _QUEUED,
    "running": _RUNNING,
    "requeued": _REQUEUED,
    "preview": _PREVIEW,
}
HAPPENINGS: Mapping[str, Described] = {
    kind.capitalize(): {
        "type": "object",
        "required": ["kind", *fields],
        "properties": {"kind": {"const": kind}, **fields},
    }
    for kind, fields in _HAPPENINGS.items()
}
"""The data of each event but the last, which is the job."""
EVENT: Described = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "description": "Rises, with gaps; for `Last-Event-ID`"},
        "event": {"enum": [*_HAPPENINGS, "succeeded", "failed", "cancelled"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in (*HAPPENINGS, "Job")]},
        },
    },
}


BACKEND: Described = {
    "type": "object",
    "required": ["name", "kind", "url", "state", "since", "running", "queued", "jobs"],
    "properties": {
        "name": TEXT,
        "kind": {"enum": ["remote", "managed", "embedded"]},
        "url": TEXT,
        "state": {"enum": ["starting", "connecting", "ready", "lost", "quarantined"]},
        "since": {"type": "number", "description": "Seconds since the epoch"},
        "reason": {"type": ["string", "null"], "description": "Why it is not ready"},
        "uptime_seconds": {"type": ["number", "null"]},
        "model": {"type": ["string", "null"], "description": "The checkpoint that it ran last"},
        "running": {"type": "array", "items": TEXT, "description": "Ids of jobs"},
        "queued": {"type": "array", "items": TEXT, "description": "Ids of jobs on their way, or in its queue"},
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
BACKENDS: Described = {"type": "object", "properties": {"backends": {"type": "array", "items": BACKEND}}}
SCHEMES: Described = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
