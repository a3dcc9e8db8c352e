"""What the pool knows of one backend: its connection, its catalogue, its job. Does nothing by itself."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from orchestrator.comfy.catalog import Catalog
from orchestrator.comfy.client import BackendClient

Connection: TypeAlias = Literal["connecting", "ready", "lost"]


@dataclass(frozen=True)
class BackendState:
    """One backend at one moment; `model` is the one that it ran last, `since` a Unix time of the last state change."""

    name: str
    url: str
    connection: Connection
    since: float
    busy: bool
    model: str | None
    classes: int
    jobs_done: int
    jobs_lost: int


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
    jobs_done: int = 0
    jobs_lost: int = 0
    up: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the backend is ready."""
    down: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while it is not."""

    def __post_init__(self) -> None:
        self.down.set()

    def change(self, connection: Connection) -> None:
        """Another state, from now on."""
        self.connection, self.since = connection, time.time()
        come, gone = (self.up, self.down) if connection == "ready" else (self.down, self.up)
        come.set()
        gone.clear()

    @property
    def state(self) -> BackendState:
        """A copy to show."""
        return BackendState(
            name=self.backend.name,
            url=self.backend.url,
            connection=self.connection,
            since=self.since,
            busy=self.jobs > 0,
            model=self.model,
            classes=len(self.catalog.classes) if self.catalog else 0,
            jobs_done=self.jobs_done,
            jobs_lost=self.jobs_lost,
        )

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
