"""A job as plain values: what is to run, the states that it goes through, what happens to it on the way. Pure.

All of it can be written as JSON and read back, so that any engine can keep it. Knows nothing of how it is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, Self

from pydantic import TypeAdapter

from orchestrator.errors import FieldError, OrchestratorError, from_code

Timings = tuple[tuple[str, float], ...]
"""Stage and its duration in seconds, in the order of the stages."""


@dataclass(frozen=True)
class NeededModel:
    """A model that the job's graph loads: what suffices to pin it again, and to fetch it again should it be gone."""

    kind: Literal["checkpoint", "lora"]
    name: str
    """As the request has it."""
    field: str
    """The request's field that named it."""
    file: str
    """What backends call it."""
    family: str


@dataclass(frozen=True)
class JobSpec:
    """One run of a widget, settled: a backend that is given this needs to ask nobody. Pictures go by reference."""

    id: str
    """Also the `prompt_id` that the backend knows it by."""
    widget: str
    seed: int | None
    graph: Mapping[str, object]
    """In ComfyUI's API format."""
    output_node: str
    output_format: Literal["jpeg", "png"]
    model: str
    """The checkpoint's file: jobs go where it is loaded."""
    classes: frozenset[str]
    """The node classes that a backend must have."""
    created: float
    """Seconds since the epoch."""
    deadline: float
    """Seconds that it may run at a backend."""
    patience: float
    """Seconds that it may wait for a backend, once its models are there."""
    image: str
    """Unguessable name under which its image is kept, so that one that was kept already is found again."""
    models: tuple[NeededModel, ...] = ()
    """The checkpoint, then the LoRAs."""
    inputs: tuple[str, ...] = ()
    """File names of its pictures, in the job's own folder of inputs."""
    workflow: str = ""
    """The graph as ComfyUI's editor opens it, in JSON; "" for a job of before that was kept."""
    ignored: tuple[str, ...] = ()
    """The caller's keys that are no parameters."""
    priority: int = 1
    """0 goes before 1, 1 before 2."""
    owner: str = ""
    """Whose turn it counts for: jobs of one priority are taken from each owner in turn."""
    fingerprint: str = ""
    """Of the request, where the caller gave an idempotency key."""
    webhook: str = ""
    """Where its end is to be told; empty for nowhere."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Ids of the graph's nodes that read what the caller wrote, and the parameter that it was written for."""
    timings: Timings = ()
    """Of the stages before it was queued."""


@dataclass(frozen=True)
class Fetching:
    """Waits for a model on its way: to the shelf before it is queued, or from there to a backend with its own disk."""

    kind: Literal["fetching"] = field(default="fetching", kw_only=True)
    model: str = ""
    """Empty before anything is known of how far it has come, like the fields below."""
    received_bytes: int = 0
    total_bytes: int | None = None
    bytes_per_second: int = 0
    seconds_left: float | None = None


@dataclass(frozen=True)
class Queued:
    """Waits for a backend."""

    kind: Literal["queued"] = field(default="queued", kw_only=True)
    place: int = 0
    """Jobs that are before it."""
    eta: float | None = None
    """Seconds until it is expected to have ended; None as long as nothing was measured."""


@dataclass(frozen=True)
class Running:
    """At a backend."""

    kind: Literal["running"] = field(default="running", kw_only=True)
    backend: str
    node: str = ""
    """Title of the node at work; empty before the first, as while it waits for the backend's job before it."""
    step: int = 0
    steps: int = 0
    """Step of how many of that node; 0 of 0 before its first."""
    nodes_done: int = 0
    nodes: int = 0


@dataclass(frozen=True)
class Succeeded:
    """Its image is kept and can be fetched."""

    kind: Literal["succeeded"] = field(default="succeeded", kw_only=True)
    image: str
    """Key of the image in the store."""
    expires_at: float
    """Seconds since the epoch."""


@dataclass(frozen=True)
class Failed:
    """Ended without an image; all of it is that of an OrchestratorError."""

    kind: Literal["failed"] = field(default="failed", kw_only=True)
    code: str
    detail: str
    fields: tuple[FieldError, ...] = ()
    retry_after: float | None = None
    """Seconds."""

    @classmethod
    def of(cls, error: OrchestratorError) -> Self:
        """What is kept of the error."""
        return cls(error.code, error.detail, error.fields, error.retry_after)

    @classmethod
    def unexpected(cls) -> Self:
        """By a fault of our own, which callers are told nothing of."""
        return cls("internal_error", "The service failed; its log says why.")

    @property
    def error(self) -> OrchestratorError:
        """The error that it was."""
        return from_code(self.code, self.detail, self.fields, self.retry_after)


@dataclass(frozen=True)
class Cancelled:
    """Ended because its caller or the operator wanted it to."""

    kind: Literal["cancelled"] = field(default="cancelled", kw_only=True)


State = Fetching | Queued | Running | Succeeded | Failed | Cancelled
Ended = Succeeded | Failed | Cancelled


@dataclass(frozen=True)
class Delivery:
    """How the word of a job's end fares on its way to the job's webhook."""

    state: Literal["waiting", "pending", "delivered", "dead"]
    """Waiting for the job's end; being told, or to be told again; told; given up."""
    tries: int = 0
    answer: str = ""
    """What came of the last try."""
    due: float | None = None
    """When it is told next; seconds since the epoch."""


@dataclass(frozen=True)
class Job:
    """A job as it stands."""

    spec: JobSpec
    state: State
    attempt: int = 1
    """Which run this is; a job whose backend was lost runs again."""
    timings: Timings = ()
    """Of all stages that are over."""
    ended: float | None = None
    """Seconds since the epoch."""
    delivery: Delivery | None = None
    """None where no webhook is to be told."""
    backend: str = ""
    """The name of the one that it runs at, or ran at last."""

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def has_ended(self) -> bool:
        return isinstance(self.state, Ended)


@dataclass(frozen=True)
class Requeued:
    """Its backend was lost; it runs again, with the same values and seed."""

    kind: Literal["requeued"] = field(default="requeued", kw_only=True)
    reason: str
    attempt: int
    """The run that comes."""


@dataclass(frozen=True)
class Preview:
    """What the image looks like so far. Told to those who ask for it, the newest alone, and not kept."""

    kind: Literal["preview"] = field(default="preview", kw_only=True)
    image: str
    """A data URL."""
    node: str = ""
    """Title of the node that makes it."""


Happening = Requeued | Preview | State
"""What a listener is told. A state is the whole of it as of then: who missed some knows all from the next."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a job. `number` rises from one event of a job to the next, with gaps."""

    number: int
    happening: Happening


_SPECS = TypeAdapter(JobSpec)
_ENDS: TypeAdapter[Ended] = TypeAdapter(Ended)
_TIMINGS: TypeAdapter[Timings] = TypeAdapter(Timings)
_HAPPENINGS: TypeAdapter[Happening] = TypeAdapter(Happening)


def spec_to_json(spec: JobSpec) -> bytes:
    """UTF-8."""
    return _SPECS.dump_json(spec)


# A spec never changes, and its lease and all who wait for the job read it within seconds.
@lru_cache(maxsize=64)
def spec_from_json(text: bytes) -> JobSpec:
    """Not to be changed, for the same text gives the same. Raises ValueError for what `spec_to_json` did not write."""
    return _SPECS.validate_json(text)


def end_to_json(end: Ended) -> bytes:
    """UTF-8."""
    return _ENDS.dump_json(end)


def end_from_json(text: str | bytes) -> Ended:
    """Raises ValueError for what `end_to_json` did not write."""
    return _ENDS.validate_json(text)


def timings_to_json(timings: Timings) -> bytes:
    """UTF-8."""
    return _TIMINGS.dump_json(timings)


def timings_from_json(text: str | bytes) -> Timings:
    """Raises ValueError for what `timings_to_json` did not write."""
    return _TIMINGS.validate_json(text)


def happening_to_json(happening: Happening) -> bytes:
    """UTF-8; what is not known is null."""
    return _HAPPENINGS.dump_json(happening)
