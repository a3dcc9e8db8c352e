"""A job and its states, one type each. Pure."""

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class Queued:
    """Waits for a backend."""

    name: ClassVar[str] = "queued"


@dataclass(frozen=True)
class Fetching:
    """Waits for a model that is on its way to the shelf."""

    name: ClassVar[str] = "fetching"
    model: str
    received: int
    """Bytes."""
    total: int
    """Bytes."""
    rate: float
    """Bytes a second; 0 while unknown."""
    seconds_left: float | None


@dataclass(frozen=True)
class Running:
    """Runs at a backend."""

    name: ClassVar[str] = "running"
    backend: str
    node: str = ""
    """Title of the node at work."""
    step: int = 0
    steps: int = 0
    """Step of how many of that node; 0 of 0 before its first."""


@dataclass(frozen=True)
class Succeeded:
    """Its image is kept and can be fetched."""

    name: ClassVar[str] = "succeeded"
    url: str
    expires_at: float
    """Seconds since the epoch."""


@dataclass(frozen=True)
class Failed:
    """Ended without an image."""

    name: ClassVar[str] = "failed"
    code: str
    detail: str


@dataclass(frozen=True)
class Cancelled:
    """Ended because its caller or the operator wanted it to."""

    name: ClassVar[str] = "cancelled"


State = Queued | Fetching | Running | Succeeded | Failed | Cancelled


@dataclass(frozen=True)
class Job:
    """One run of a widget; its id is the `prompt_id` that the backend knows it by."""

    id: str
    widget: str
    seed: int | None
    state: State = field(default_factory=Queued)
    timings: tuple[tuple[str, float], ...] = ()
    """Stage and its duration in seconds, in the order of the stages."""
