"""The jobs that are followed at one backend, and which of its messages is whose."""

from orchestrator.comfy.following import Following
from orchestrator.comfy.messages import Message, PreviewFrame, Status, Unknown

_LARGEST_PREVIEW = 500_000
"""Bytes; ComfyUI's are at most 512 pixels wide and high, and much smaller."""


class Followed:
    """What `run` follows at the moment, by the job's id."""

    def __init__(self) -> None:
        self._all: dict[str, Following] = {}
        self._heard_of = ""
        self._leaving = False
        self._queue_remaining: int | None = None

    def get(self, prompt_id: str) -> Following | None:
        """The following of this job, if it is followed."""
        return self._all.get(prompt_id)

    @property
    def begun(self) -> tuple[str, ...]:
        """The jobs that the backend has been seen to work on."""
        return tuple(job_id for job_id, following in self._all.items() if following.begun)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The others."""
        return tuple(job_id for job_id, following in self._all.items() if not following.begun)

    def add(self, following: Following) -> None:
        """From here on it hears what is said of its job."""
        following.left = self._leaving
        self._all[following.prompt_id] = following

    def drop(self, following: Following) -> None:
        """Its `run` is over."""
        if self._all.get(following.prompt_id) is following:  # and not a later run of the same job
            del self._all[following.prompt_id]

    def leave(self, prompt_id: str) -> None:
        """This job stays at the backend when its `run` is cancelled."""
        following = self._all.get(prompt_id)
        if following is not None:
            following.left = True

    def leave_all(self) -> None:
        """So do all jobs, those to come as well."""
        self._leaving = True
        for following in self._all.values():
            following.left = True

    def begin_life(self) -> None:
        """The socket is a new one: whatever was said since the old one broke was not heard."""
        self._queue_remaining = None
        self._nudge_all()

    def hear(self, message: Message | PreviewFrame) -> None:
        """Passes a message on to whom it concerns."""
        match message:
            case Status(remaining):
                # The count falls when a job ends, whoever's it was, and after its history is written.
                if self._queue_remaining is None or remaining < self._queue_remaining:
                    self._nudge_all()
                self._queue_remaining = remaining
            case PreviewFrame("jpeg", data, prompt_id) if len(data) <= _LARGEST_PREVIEW:
                # Without an id it is of the job that was heard of last, for a backend runs one at a time.
                if (following := self._all.get(prompt_id or self._heard_of)) is not None:
                    following.show(data)
            case PreviewFrame() | Unknown():
                pass
            case _:
                self._heard_of = message.prompt_id or ""
                if (following := self._all.get(self._heard_of)) is not None:
                    following.hear(message)

    def _nudge_all(self) -> None:
        for following in self._all.values():
            following.nudge()
