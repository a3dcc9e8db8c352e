"""What the pool knows of one backend: its connection, its catalogue, its job. Does nothing by itself."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from orchestrator.comfy.catalog import Catalog
from orchestrator.comfy.client import BackendClient, Kind

Connection: TypeAlias = Literal["starting", "connecting", "ready", "lost", "quarantined"]


@dataclass(frozen=True)
class BackendState:
    """One backend at one moment; `model` is the one that it ran last, `since` a Unix time of the last state change."""

    name: str
    kind: Kind
    url: str
    connection: Connection
    since: float
    reason: str
    """Why it is not ready; empty when it is, or never was."""
    busy: bool
    model: str | None
    running: tuple[str, ...]
    """Ids of our jobs that it works on."""
    waiting: tuple[str, ...]
    """Ids of our jobs that are on their way there or in its queue."""
    classes: int
    jobs_done: int
    jobs_failed: int
    jobs_lost: int
    last_failure: str
    starts: int
    """How often its process was started, where the service does that; else 0."""
    drops_results: bool | None
    """Whether it deletes results that were collected; None while unknown."""


@dataclass(eq=False)
class Place:
    """What the pool knows of one backend. `catalog` is None until it was read once, then the last one read."""

    backend: BackendClient
    connection: Connection = "connecting"
    since: float = field(default_factory=time.time)
    catalog: Catalog | None = None
    model: str | None = None
    jobs: int = 0
    """At the backend now: one that runs, and perhaps one that waits there."""
    reason: str = ""
    up: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the backend is ready."""
    down: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while it is not."""

    def __post_init__(self) -> None:
        self.down.set()

    def change(self, connection: Connection, reason: str = "") -> None:
        """Another state, from now on."""
        self.connection, self.since, self.reason = connection, time.time(), reason
        come, gone = (self.up, self.down) if connection == "ready" else (self.down, self.up)
        come.set()
        gone.clear()

    @property
    def state(self) -> BackendState:
        """A copy to show."""
        backend, tally, process = self.backend, self.backend.tally, self.backend.process
        starting = process is not None and not process.is_ready and self.connection != "ready"
        return BackendState(
            name=backend.name,
            kind=backend.kind,
            url=backend.url,
            connection="starting" if starting else self.connection,
            since=self.since,
            reason=self._reason(starting),
            busy=self.jobs > 0,
            model=self.model,
            running=backend.at_work,
            waiting=backend.waiting,
            classes=len(self.catalog.classes) if self.catalog else 0,
            jobs_done=tally.done,
            jobs_failed=tally.failed,
            jobs_lost=tally.lost,
            last_failure=tally.last_failure,
            starts=process.starts if process else 0,
            drops_results=backend.drops_results,
        )

    def _reason(self, starting: bool) -> str:
        if self.connection == "ready":
            return ""
        process = self.backend.process
        return (process.failure if starting and process else "") or self.reason or self.backend.connection_failure

    def may_run(self, classes: frozenset[str]) -> bool:
        """False when the backend is known to lack one of the classes."""
        return not self.missing(classes)

    def missing(self, classes: frozenset[str]) -> frozenset[str]:
        """Those of the classes that the backend is known to lack."""
        return self.catalog.missing(classes) if self.catalog else frozenset()

    def learn(self, catalog: Catalog) -> None:
        """A connection stands. The backend may have been restarted: nothing is known of what it has loaded."""
        self.catalog, self.model = catalog, None
        self.change("ready")

    def take(self, model: str) -> None:
        """A job with this model goes to the backend."""
        self.jobs += 1
        self.model = model

    def free(self) -> None:
        """A job is over."""
        self.jobs -= 1
