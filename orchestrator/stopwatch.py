"""How long each stage of a job takes."""

import time
from collections.abc import Callable

from orchestrator.jobs.job import Timings

Passed = Callable[[str, str, float], None]
"""Called with a job's id, a stage that it is through, and how many seconds that took."""


class Stopwatch:
    """How long each stage took, in seconds, in order; `passed` is told of each."""

    def __init__(self, passed: Callable[[str, float], None]) -> None:
        self._passed = passed
        self._laps: list[tuple[str, float]] = []
        self._last = time.perf_counter()

    def lap(self, stage: str, before: float = 0.0) -> None:
        """The stage ends now; `before` is what it took before the lap began."""
        now = time.perf_counter()
        self.note(stage, before + now - self._last)
        self._last = now

    def note(self, stage: str, seconds: float) -> None:
        self.recall(stage, seconds)
        self._passed(stage, seconds)

    def recall(self, stage: str, seconds: float) -> None:
        """Of a stage that `passed` was told of when it was over."""
        self._laps.append((stage, seconds))

    def has(self, stage: str) -> bool:
        """Whether the stage is over."""
        return any(name == stage for name, _ in self._laps)

    @property
    def laps(self) -> Timings:
        return tuple(self._laps)
