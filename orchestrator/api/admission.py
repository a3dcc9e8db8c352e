"""How many requests for a run are let in at once. Asked before a body is read, so that a flood costs no memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.errors import QueueFull


class Admission:
    """Lets `limit` requests in; `refusal` makes the error for the next one, with its `retry_after`."""

    def __init__(self, limit: int, refusal: Callable[[], QueueFull]) -> None:
        self._limit = limit
        self._refusal = refusal
        self._inside = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Held from before the body is read until the answer is known. Raises QueueFull."""
        if self._inside >= self._limit:
            raise self._refusal()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
