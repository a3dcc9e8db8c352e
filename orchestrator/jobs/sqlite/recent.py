"""What was written of the jobs that ended last: who waited for one asks next, and need not ask the file again."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.jobs.sqlite.records import Found

_KEPT = 32


@dataclass(eq=False)
class Recent:
    """Jobs of which nothing changes any more but that they expire. `clock` gives seconds since the epoch."""

    clock: Callable[[], float]
    _found: OrderedDict[str, Found] = field(default_factory=OrderedDict)

    def add(self, found: Found) -> None:
        """A job that has ended. One whose webhook is to be told is not kept: its record goes on changing."""
        if found.row["hook_due"] is None:
            self._found[found.row["id"]] = found
            if len(self._found) > _KEPT:
                self._found.popitem(last=False)

    def get(self, job_id: str) -> Found | None:
        """The job, unless it has expired or is not remembered here."""
        found = self._found.get(job_id)
        return found if found is not None and found.row["expires"] > self.clock() else None
