"""The queue of prompts and the history of those that ended. Knows what a client sees of them, not how they run.

Used from two threads: the server puts and asks, the worker takes and finishes.
"""

import heapq
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

_HISTORY_LIMIT = 1000


@dataclass(frozen=True, order=True)
class Prompt:
    """A checked graph on its way. `number` orders the queue; `extra` is what the client sent along."""

    number: float
    prompt_id: str = field(compare=False)
    graph: Mapping[str, Any] = field(compare=False)
    extra: Mapping[str, Any] = field(compare=False)
    outputs: tuple[str, ...] = field(compare=False)

    @property
    def client(self) -> str | None:
        """The socket that follows this prompt, if the client named one."""
        client = self.extra.get("client_id")
        return client if isinstance(client, str) else None

    def described(self) -> list[Any]:
        """As queue and history show it."""
        return [self.number, self.prompt_id, self.graph, self.extra, list(self.outputs)]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its messages in order, and what output nodes showed, by node id."""

    completed: bool
    messages: Sequence[tuple[str, Mapping[str, Any]]]
    outputs: Mapping[str, Any]
    meta: Mapping[str, Any]

    def described(self, prompt: Prompt) -> dict[str, Any]:
        """The history entry."""
        status = {
            "status_str": "success" if self.completed else "error",
            "completed": self.completed,
            "messages": [list(message) for message in self.messages],
        }
        return {"prompt": prompt.described(), "outputs": self.outputs, "status": status, "meta": self.meta}


@dataclass
class Wishes:
    """What clients asked of the worker between two prompts."""

    unload_models: bool = False
    free_memory: bool = False


class Prompts:
    """First in, first out, one running at a time; `changed` is called after every change of the queue."""

    def __init__(self, changed: Callable[[int], None]) -> None:
        self._condition = threading.Condition()
        self._waiting: list[Prompt] = []
        self._running: Prompt | None = None
        self._history: dict[str, dict[str, Any]] = {}
        self._wishes = Wishes()
        self._changed = changed
        self._count = 0
        self._closed = False

    def next_number(self, front: bool) -> int:
        """The place of a new prompt: after all others, or before them."""
        with self._condition:
            number = self._count
            self._count += 1
            return -number if front else number

    def put(self, prompt: Prompt) -> None:
        with self._condition:
            heapq.heappush(self._waiting, prompt)
            self._condition.notify_all()
            self._tell()

    def take(self, seconds: float, begin: Callable[[str], None]) -> Prompt | None:
        """The next prompt, which now runs; None after `seconds`, on a wish, or when closed.

        `begin` hears its id before anybody can see that it runs, so that no interrupt comes too early to count.
        """
        with self._condition:
            if not self._waiting and not self._closed:
                self._condition.wait(seconds)
            if not self._waiting or self._closed:
                return None
            prompt = heapq.heappop(self._waiting)
            begin(prompt.prompt_id)
            self._running = prompt
            self._tell()
            return prompt

    def finish(self, prompt: Prompt, outcome: Outcome) -> None:
        """Writes the history, then lets the queue's change be known, in this order."""
        with self._condition:
            while len(self._history) >= _HISTORY_LIMIT:
                del self._history[next(iter(self._history))]
            self._history[prompt.prompt_id] = outcome.described(prompt)
            self._running = None
            self._tell()

    def remaining(self) -> int:
        with self._condition:
            return len(self._waiting) + (self._running is not None)

    def _tell(self) -> None:
        self._changed(self.remaining())

    def queue(self) -> dict[str, Any]:
        """As `GET /queue` answers."""
        with self._condition:
            running = [self._running.described()] if self._running else []
            return {"queue_running": running, "queue_pending": [prompt.described() for prompt in self._waiting]}

    def delete(self, prompt_ids: Iterable[str]) -> None:
        """Takes prompts out of the queue that have not begun to run."""
        doomed = set(prompt_ids)
        with self._condition:
            self._waiting = [prompt for prompt in self._waiting if prompt.prompt_id not in doomed]
            heapq.heapify(self._waiting)
            self._tell()

    def clear(self) -> None:
        """Empties the queue."""
        with self._condition:
            self._waiting.clear()
            self._tell()

    def history(self, prompt_id: str | None = None, limit: int | None = None, offset: int = -1) -> dict[str, Any]:
        """One entry by its id ({} when there is none), or the entries from `offset`, or the newest `limit`."""
        with self._condition:
            if prompt_id is not None:
                return {prompt_id: self._history[prompt_id]} if prompt_id in self._history else {}
            first = max(0, len(self._history) - limit) if offset < 0 and limit is not None else max(0, offset)
            return dict(islice(self._history.items(), first, None if limit is None else first + limit))

    def forget(self, prompt_ids: Iterable[str] | None = None) -> None:
        """Deletes entries of the history, all of them for None."""
        with self._condition:
            for prompt_id in list(self._history) if prompt_ids is None else prompt_ids:
                self._history.pop(prompt_id, None)

    def wish(self, *, unload_models: bool, free_memory: bool) -> None:
        """Asks the worker to let go of models, or of everything it keeps, before the next prompt."""
        with self._condition:
            self._wishes.unload_models |= unload_models
            self._wishes.free_memory |= free_memory
            self._condition.notify_all()

    def wishes(self) -> Wishes:
        """What was asked since the last call."""
        with self._condition:
            wishes, self._wishes = self._wishes, Wishes()
            return wishes

    def close(self) -> None:
        """Nothing is taken any more."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
