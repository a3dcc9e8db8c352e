"""How many requests for a run are let in at once, and how much of them is read. Asked before a body is read, so that a
flood costs no memory, and no caller can keep the others out.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from aiohttp import web

from orchestrator.callers.caller import ANYBODY, Caller
from orchestrator.errors import FieldError, LimitReached, QueueFull

_SHARE = 4
"""The part of the places that one API key may have which is not limited in its jobs: a quarter."""
_AGAIN_SECONDS = 2.0
"""After which a place is likely to be free: about what a body with pictures takes over a slow line."""


class Place:
    """One request's place, and the bytes of its body that are in memory."""

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count
        self.held = 0

    def take(self, size: int) -> None:
        """So many bytes more have come. Raises QueueFull, or LimitReached when they are too many of this caller's."""
        self._count(size)
        self.held += size


PLACE = web.RequestKey("place", Place)
"""Of a request that was let in."""


class Admission:
    """Lets `limit` requests in, whose bodies may have `most_bytes` together.

    Of both, one API key gets no more than half: of the places as many as it may have jobs, or a quarter where that is
    not limited. Where no keys are asked for, all callers are one, and nobody is kept from anybody's share.
    """

    def __init__(self, limit: int, most_bytes: int) -> None:
        self._limit = limit
        self._most_bytes = most_bytes
        self._inside: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    @contextmanager
    def enter(self, caller: Caller) -> Iterator[Place]:
        """Held from before the body is read until the answer is known. Raises QueueFull and LimitReached."""
        inside = self._inside.total()
        if inside >= self._limit:
            raise QueueFull(f"{inside} requests are being read already", retry_after=_AGAIN_SECONDS)
        if caller is not ANYBODY and self._inside[caller.id] >= (share := self._share(caller)):
            raise self._share_taken(f"at most {share} requests at once")
        place = Place(partial(self._read, caller))
        self._inside[caller.id] += 1
        try:
            yield place
        finally:
            self._inside[caller.id] -= 1
            self._bytes[caller.id] -= place.held
            self._inside, self._bytes = +self._inside, +self._bytes

    def _read(self, caller: Caller, size: int) -> None:
        if self._bytes.total() + size > self._most_bytes:
            raise QueueFull("The requests that are being read fill the memory for them", retry_after=_AGAIN_SECONDS)
        if caller is not ANYBODY and self._bytes[caller.id] + size > self._most_bytes // 2:
            raise self._share_taken(f"at most {self._most_bytes // 2_000_000} MB of requests at once")
        self._bytes[caller.id] += size

    def _share(self, caller: Caller) -> int:
        own = self._limit // _SHARE if caller.limits.jobs is None else caller.limits.jobs
        return max(1, min(own, self._limit // 2))

    def _share_taken(self, most: str) -> LimitReached:
        complaint = FieldError("requests", most)
        return LimitReached(f"This API key may send {most}", [complaint], retry_after=_AGAIN_SECONDS)
