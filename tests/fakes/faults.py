"""What a fake ComfyUI does wrong, on cue."""

from collections import defaultdict, deque
from dataclasses import dataclass, field


@dataclass
class Faults:
    """Set any of these before or while a job runs; each is as a real server has been seen to fail."""

    drop_at: int | None = None
    """Cut every socket instead of sending the message of this number, counted from 1 after the first submission."""
    mute: frozenset[str] = frozenset()
    """Message types that are never sent; "*" mutes the publisher altogether."""
    late_history: float = 0.0
    """Seconds by which a job's history entry comes after `executing null`."""
    raise_in: str = ""
    """The class of a node that raises when it runs."""
    raise_times: int = 1_000_000
    """So often."""
    raised: tuple[str, str] = ("RuntimeError", "it broke\n")
    """Class and text of what is raised."""
    lose_pictures: bool = False
    """`GET /view` finds nothing."""
    last_first: bool = False
    """Of the jobs that wait, the one that came last runs first."""
    swallow_prompts: int = 0
    """So many graphs are accepted and forgotten at once."""
    answers: dict[str, deque[int]] = field(default_factory=lambda: defaultdict(deque))
    """HTTP statuses to answer instead, by method and first path part, "GET /history"; each is used once."""
    after: dict[str, deque[int]] = field(default_factory=lambda: defaultdict(deque))
    """The same, but the request is acted on first: the answer alone is lost."""
    delays: dict[str, float] = field(default_factory=dict)
    """Seconds before such a request is looked at."""

    def fail(self, request: str, status: int = 500, times: int = 1, *, after_acting: bool = False) -> None:
        """The next `times` requests of this kind are answered with `status`; 0 cuts the connection instead."""
        (self.after if after_acting else self.answers)[request].extend([status] * times)
