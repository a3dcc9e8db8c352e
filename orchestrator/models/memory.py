"""What Civitai has said lately: facts for a while, final refusals for as long as they are worth, passing ones never.

In memory, and bounded. Knows nothing of how an answer is got.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from orchestrator.errors import ModelError, ModelUnavailable
from orchestrator.models.refusal import remembered_seconds

K = TypeVar("K")
V = TypeVar("V")

_MOST = 2000


@dataclass(frozen=True)
class _Entry(Generic[V]):
    value: V | None
    error: ModelError | None
    until: float


class Memory(Generic[K, V]):
    """Answers by key, each until its time is over. `clock` gives seconds."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()

    def recall(self, key: K) -> V | None:
        """The remembered answer, or None. Raises the remembered refusal."""
        entry = self._entries.get(key)
        if entry is None or entry.until <= self._clock():
            self._entries.pop(key, None)
            return None
        if entry.error is not None:
            # A copy, because raising adds to a traceback, and each caller adds its own field.
            raise type(entry.error)(entry.error.detail, entry.error.fields)
        return entry.value

    def keep(self, key: K, value: V) -> None:
        self._put(key, _Entry(value, None, self._clock() + self._seconds))

    def keep_refusal(self, key: K, error: ModelError) -> None:
        """Remembers a refusal if it is a final one."""
        if seconds := remembered_seconds(error):
            self._put(key, _Entry(None, error, self._clock() + seconds))

    def _put(self, key: K, entry: _Entry[V]) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > _MOST:
            self._entries.popitem(last=False)


class QuietTime:
    """When Civitai has asked for quiet (429 with Retry-After), nobody asks until it is over."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = 0.0

    def keep(self, seconds: float) -> None:
        self._until = max(self._until, self._clock() + seconds)

    @property
    def left(self) -> float:
        """Seconds until it is over."""
        return max(0.0, self._until - self._clock())

    def require_over(self) -> None:
        """Raises ModelUnavailable while it lasts."""
        if self.left:
            raise ModelUnavailable("Civitai has asked us to wait before the next question", retry_after=self.left)
