"""A caller as plain values: its rights and its limits. Pure; knows nothing of keys, nor of how they are kept."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from orchestrator.errors import NotPermitted

Priority = Literal["high", "normal", "low"]


class Right(StrEnum):
    """What a caller may do besides looking at widgets and at jobs of its own."""

    RUN = "run"
    """Run widgets."""
    PUBLISH = "publish"
    """Change which widgets there are."""
    OPERATE = "operate"
    """See backends, metrics and everybody's jobs, and cancel those."""


@dataclass(frozen=True)
class Limits:
    """How much a caller may ask for; None is no limit."""

    rate: int | None = None
    """Runs that may be asked for in a minute."""
    jobs: int | None = None
    """Jobs that have not ended, at once."""
    megapixels: float | None = None
    """Size of the picture to be painted, in 10^6 pixels."""
    steps: int | None = None
    """Sampling steps of one job."""
    priority: Priority = "normal"
    """The highest that it may ask for."""


@dataclass(frozen=True)
class Caller:
    """Whoever sent a request. `id` is whose jobs are: it stays when the name or the key is changed."""

    id: str
    name: str
    rights: frozenset[Right]
    limits: Limits = field(default_factory=Limits)

    def require(self, right: Right) -> None:
        """Raises NotPermitted, naming the right that lacks."""
        if right not in self.rights:
            has = ", ".join(sorted(self.rights)) or "nothing but look"
            raise NotPermitted(f'This needs the right "{right}"; the API key "{self.name}" may {has}')

    def sees(self, owner: str) -> bool:
        """Whether the jobs of that owner are this caller's affair."""
        return owner == self.id or Right.OPERATE in self.rights


ANYBODY = Caller("", "anybody", frozenset(Right), Limits(priority="high"))
"""Who calls where no keys are asked for: one and all are the operator."""
STRANGER = Caller("-", "stranger", frozenset())
"""Who calls what is open to the world, where keys are asked for elsewhere. No job is its own: the id is no key's."""
