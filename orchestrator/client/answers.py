"""What the service answers, as frozen values. Pure; what a later service adds to an answer is left aside.

Times are in seconds, since the epoch where they are moments.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote

from pydantic import InstanceOf, TypeAdapter

from orchestrator.errors import FieldError, OrchestratorError, from_code

T = TypeVar("T")
Told = Mapping[str, Any]
"""Decoded JSON."""


@dataclass(frozen=True)
class Fetching:
    """A model is on its way; `model` is empty before anything is known of it."""

    model: str = ""
    received_bytes: int = 0
    total_bytes: int | None = None
    bytes_per_second: int = 0
    seconds_left: float | None = None


@dataclass(frozen=True)
class Queued:
    """Waits for a backend: `place` jobs are before it, it is expected to end in `eta` seconds (None: nobody knows)."""

    place: int = 0
    eta: float | None = None


@dataclass(frozen=True)
class Running:
    """At a backend, at step `step` of `steps` of the node titled `node` (0 of 0 before its first)."""

    backend: str
    node: str = ""
    step: int = 0
    steps: int = 0
    nodes_done: int = 0
    nodes: int = 0


@dataclass(frozen=True)
class Requeued:
    """Its backend was lost; run number `attempt` comes."""

    reason: str
    attempt: int


@dataclass(frozen=True)
class Preview:
    """The picture as far as it has come: a file of that type."""

    image: bytes = field(repr=False)
    content_type: str


@dataclass(frozen=True)
class Succeeded:
    """Its image is behind `url` until then."""

    url: str
    expires_at: float


@dataclass(frozen=True)
class Failed:
    """Ended without an image; `error` says why, and who can mend it."""

    error: InstanceOf[OrchestratorError]


@dataclass(frozen=True)
class Cancelled:
    """Ended because somebody wanted it to."""


State = Fetching | Queued | Running | Succeeded | Failed | Cancelled
Ended = Succeeded | Failed | Cancelled
Progress = State | Requeued | Preview


@dataclass(frozen=True)
class Job:
    """A job as it stood when the service was asked."""

    id: str
    widget: str
    state: State
    seed: int | None
    created: float
    ended: float | None
    attempt: int
    timings: Mapping[str, float]
    """Seconds of each stage that is over."""
    links: Mapping[str, str]
    """Addresses about the job by name: self, events, prompt, …"""
    ignored: tuple[str, ...] = ()
    """Names of values that the widget does not know and runs without: the first 20, of each its first 64 characters."""

    @property
    def has_ended(self) -> bool:
        return isinstance(self.state, Ended)


@dataclass(frozen=True)
class WidgetEntry:
    """A widget in the list of all."""

    name: str
    title: str
    description: str


@dataclass(frozen=True)
class ParameterDescription:
    """One parameter of a widget."""

    name: str
    kind: str
    """Its type in widget.yaml: picture, mask, prompt, integer, …"""
    required: bool
    description: str
    default: str | int | float | None
    options: tuple[str, ...]
    """The words that it may be; none where it is free."""
    minimum: float | None
    maximum: float | None


@dataclass(frozen=True)
class WidgetDescription:
    """A widget with its parameters, in the artist's order."""

    name: str
    title: str
    description: str
    parameters: tuple[ParameterDescription, ...]


_LISTED = 20
"""Parameters that a service names as ignored; of more it tells the number."""
_STATES: Mapping[str, type[State]] = {
    "fetching": Fetching,
    "queued": Queued,
    "running": Running,
    "succeeded": Succeeded,
    "cancelled": Cancelled,
}


def read_job(told: Told, ignored: str = "") -> Job:
    """`ignored` is the header `X-Ignored-Parameters`. Raises ValueError for what is no job."""
    return _read(Job, {**told, "state": _state(told), "ignored": _names(ignored)})


def read_progress(kind: str, told: Told) -> Progress | None:
    """One event; None for a kind that a later service may tell of. Raises ValueError."""
    match kind:
        case "preview":
            return _preview(told)
        case "requeued":
            return _read(Requeued, told)
        case "failed" | "succeeded" | "cancelled":
            return _state(told)
    return _read(_STATES[kind], told) if kind in _STATES else None


def read_widgets(told: Told) -> tuple[WidgetEntry, ...]:
    """The list of all widgets. Raises ValueError."""
    return _read(tuple[WidgetEntry, ...], told.get("widgets"))


def read_widget(name: str, told: Told) -> WidgetDescription:
    """A widget's JSON Schema. Raises ValueError."""
    needed = frozenset(told.get("required", ()))
    properties: Mapping[str, Told] = told.get("properties", {})
    parameters = tuple(_parameter(one, said, one in needed) for one, said in properties.items())
    return WidgetDescription(name, str(told.get("title", name)), str(told.get("description", "")), parameters)


def read_error(told: Told, retry_after: float | None = None) -> OrchestratorError:
    """The error that a problem, or a failed job, tells of."""
    complaints = [FieldError(str(one.get("field")), str(one.get("message"))) for one in told.get("errors") or ()]
    return from_code(str(told.get("code", "")), str(told.get("detail", "")), complaints, retry_after)


def _names(listed: str) -> tuple[str, ...]:
    names = listed.split(", ") if listed else []
    if len(names) > _LISTED:  # the last says how many more there are
        del names[_LISTED:]
    return tuple(unquote(name) for name in names)


def _state(told: Told) -> State:
    kind = str(told.get("state"))
    if kind == "failed":
        return Failed(read_error(told))
    if kind not in _STATES:
        raise ValueError(f"{kind!r} is no state of a job")
    return _read(_STATES[kind], told)


def _preview(told: Told) -> Preview | None:
    """From a data URL, wherever in the event it is."""
    address = next((text for text in told.values() if isinstance(text, str) and text.startswith("data:image/")), "")
    head, comma, content = address.partition(";base64,")
    if not comma:
        return None
    try:
        return Preview(base64.b64decode(content, validate=True), head.removeprefix("data:"))
    except binascii.Error as error:
        raise ValueError("a preview is not base64") from error


def _parameter(name: str, said: Told, required: bool) -> ParameterDescription:
    return ParameterDescription(
        name=name,
        kind=str(said.get("x-type", said.get("type", "text"))),
        required=required,
        description=str(said.get("description", "")),
        default=said.get("default"),
        options=tuple(str(word) for word in said.get("enum", ())),
        minimum=said.get("minimum"),
        maximum=said.get("maximum"),
    )


def _read(kind: type[T], told: object) -> T:
    return TypeAdapter(kind).validate_python(told)
