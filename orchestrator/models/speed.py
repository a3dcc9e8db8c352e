"""How far a download is, how fast it goes and how long it will take. Pure: the clock is handed in."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_WINDOW = 5.0


@dataclass(frozen=True)
class Progress:
    """One model on its way."""

    model: str
    received: int
    """Bytes."""
    total: int
    """Bytes."""
    rate: float
    """Bytes a second, over the last five seconds; 0 while unknown."""

    @property
    def seconds_left(self) -> float | None:
        """None while the rate is unknown."""
        return (self.total - self.received) / self.rate if self.rate > 0 else None


class Speedometer:
    """Turns byte counts into progress. `clock` gives seconds."""

    def __init__(self, model: str, total: int, clock: Callable[[], float]) -> None:
        self._model = model
        self._total = total
        self._clock = clock
        self._marks: deque[tuple[float, int]] = deque()

    def at(self, received: int) -> Progress:
        """Progress now that so many bytes are there."""
        now = self._clock()
        if self._marks and received < self._marks[-1][1]:
            self._marks.clear()
        self._marks.append((now, received))
        while len(self._marks) > 2 and self._marks[0][0] < now - _WINDOW:
            self._marks.popleft()
        (then, first) = self._marks[0]
        rate = (received - first) / (now - then) if now > then else 0.0
        return Progress(self._model, received, self._total, rate)
