"""One flight for everybody: tasks that want the same thing at once wait for one that gets it.

Knows nothing of what is got. Between processes, see `locks`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(eq=False)
class _Flight(Generic[V]):
    task: "asyncio.Future[V]"
    passengers: int = 0


class SingleFlight(Generic[K, V]):
    """Runs at most one `work` a key at a time; the one who leaves last, unserved, takes the work down with him."""

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}

    async def run(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """What `work` gives, or what the work of an earlier caller with that key gives; raises what it raises."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.ensure_future(work()))
            flight.task.add_done_callback(lambda _: self._land(key, flight))
        flight.passengers += 1
        try:
            # One passenger's cancel must not end it for the others.
            return await asyncio.shield(flight.task)
        finally:
            flight.passengers -= 1
            if not flight.passengers and not flight.task.done():
                self._land(key, flight)
                flight.task.cancel()
                await asyncio.wait({flight.task})

    def _land(self, key: K, flight: "_Flight[V] | None") -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
