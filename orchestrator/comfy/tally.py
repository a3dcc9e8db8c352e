"""How the jobs of one backend have fared so far. Pure."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from orchestrator.errors import BackendLost, BackendTimeout, ExecutionFailed, GraphRejected


@dataclass
class Tally:
    """Jobs since the service was started, by how they ended here; and the newest failure in words."""

    done: int = 0
    failed: int = 0
    lost: int = 0
    last_failure: str = ""

    @contextmanager
    def counting(self) -> Iterator[None]:
        """One job; cancelled and interrupted ones are nobody's failure and are not counted."""
        try:
            yield
        except (ExecutionFailed, GraphRejected) as error:
            self.failed, self.last_failure = self.failed + 1, error.detail
            raise
        except (BackendLost, BackendTimeout) as error:
            self.lost, self.last_failure = self.lost + 1, error.detail
            raise
        self.done += 1
