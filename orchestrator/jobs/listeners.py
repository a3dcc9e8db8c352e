"""What is told about each job, to whoever listens in this process. In memory; the engine keeps what must last."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from orchestrator.jobs.job import Ended, Event, Fetching, Happening, Preview, Queued, Requeued, Running

_EVENTS_A_JOB = 400
_ENDED_KEPT = 1000


Observe = Callable[[str, float, Happening], None]
"""Called with a job's id, when it was created (seconds since the epoch), and what happened to it."""


@dataclass(eq=False)
class _Story:
    created: float
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=_EVENTS_A_JOB))
    waiting: set["asyncio.Future[None]"] = field(default_factory=set)
    preview: Event | None = None
    """The newest, until the job's end."""
    watching: set["asyncio.Future[None]"] = field(default_factory=set)
    """Those of the waiting who want previews, too."""


def number_at(created: float, now: float) -> int:
    """The smallest number of an event of that moment."""
    return int(1000 * (now - created))


class Listeners:
    """The newest events of every job that something was told of. `clock` gives seconds since the epoch, `observe`
    is told of every happening, once.

    An event's number is the milliseconds since the job's creation, or one more than the number before it: so numbers
    rise across a restart of the service too, though the events are forgotten.
    """

    def __init__(self, clock: Callable[[], float], observe: Observe = lambda *_: None) -> None:
        self._clock = clock
        self._observe = observe
        self._unfinished: dict[str, _Story] = {}
        self._watchers: Counter[str] = Counter()
        self._ended: OrderedDict[str, _Story] = OrderedDict()

    def tell(self, job_id: str, created: float, happening: Happening) -> None:
        """Hands it to all who listen. What is told after the end is dropped."""
        ended = self._ended.get(job_id)
        if ended is not None:
            if ended.created == created:
                return
            del self._ended[job_id]  # that job is forgotten, and its id, which follows from a key, is another's now
        story = self._unfinished.setdefault(job_id, _Story(created))
        number = self.number(job_id, created)
        if isinstance(happening, Preview):
            story.preview = Event(number, happening)
            _wake(story.watching)
            return
        if isinstance(happening, Requeued):
            story.preview = None
        story.events.append(Event(number, happening))
        self._observe(job_id, created, happening)
        _wake(story.waiting)
        if isinstance(happening, Ended):
            story.preview = None
            self._ended[job_id] = self._unfinished.pop(job_id)
            if len(self._ended) > _ENDED_KEPT:
                self._ended.popitem(last=False)

    def number(self, job_id: str, created: float) -> int:
        """What the next event is numbered."""
        story = self._story(job_id, created)
        last = story.events[-1].number if story and story.events else 0
        shown = story.preview.number if story and story.preview else 0
        return max(last + 1, shown + 1, number_at(created, self._clock()))

    @contextmanager
    def watching(self, job_id: str) -> Iterator[None]:
        """While the block lasts, previews of the job are wanted."""
        self._watchers[job_id] += 1
        try:
            yield
        finally:
            self._watchers[job_id] -= 1
            if not self._watchers[job_id]:
                del self._watchers[job_id]

    def is_watched(self, job_id: str) -> bool:
        """True while somebody wants the job's previews."""
        return job_id in self._watchers

    def since(self, job_id: str, created: float, number: int, previews: bool = False) -> list[Event]:
        """The events after that number, as far as they are remembered; with `previews` also the newest of those."""
        story = self._story(job_id, created)
        if story is None:
            return []
        shown = [story.preview] if previews and story.preview is not None else []
        told = [event for event in (*story.events, *shown) if event.number > number]
        return sorted(told, key=lambda event: event.number)

    def state(self, job_id: str) -> Fetching | Queued | Running | None:
        """The state last told of an unfinished job."""
        story = self._unfinished.get(job_id)
        told = story.events if story else ()
        states = (
            event.happening for event in reversed(told) if isinstance(event.happening, Fetching | Queued | Running)
        )
        return next(states, None)

    async def heard(
        self, job_id: str, created: float, number: int, seconds: float, previews: bool = False
    ) -> list[Event]:
        """The events after that number, as soon as there is one; none when the `seconds` are over."""
        told = self.since(job_id, created, number, previews)
        if told or (job_id in self._ended and self._story(job_id, created) is not None):
            return told
        story = self._unfinished.setdefault(job_id, _Story(created))
        future = asyncio.get_running_loop().create_future()
        story.waiting.add(future)
        if previews:
            story.watching.add(future)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await future
        finally:
            story.waiting.discard(future)
            story.watching.discard(future)
            if not story.events and not story.waiting and self._unfinished.get(job_id) is story:
                del self._unfinished[job_id]
        return self.since(job_id, created, number, previews)

    def _story(self, job_id: str, created: float) -> _Story | None:
        """Of the job that was created then; one before it may have had the same id."""
        story = self._unfinished.get(job_id) or self._ended.get(job_id)
        return story if story is not None and story.created == created else None


def _wake(listeners: Iterable["asyncio.Future[None]"]) -> None:
    for future in listeners:
        if not future.done():
            future.set_result(None)
