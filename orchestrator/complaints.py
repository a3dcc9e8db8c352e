"""Several checks of one request, and all that they find fault with in one error."""

import copy
from types import TracebackType
from typing import Self

from orchestrator.errors import OrchestratorError, naming


class Complaints:
    """Hears the OrchestratorErrors of `with` blocks, so that one check's complaint does not hide the next one's.

    What a block was to find is known only after `settle`.
    """

    def __init__(self) -> None:
        self._heard: list[OrchestratorError] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, OrchestratorError):
            return False
        self._heard.append(error)
        return True

    def __bool__(self) -> bool:
        return bool(self._heard)

    def settle(self) -> None:
        """Raises what was heard, if anything: the first error in the order of the blocks, with the fields of all.

        Those that coming again helps are left out where there are others.
        """
        errors = [error for error in self._heard if not error.retryable] or self._heard
        if not errors:
            return
        first, *more = errors
        if not (first.fields and any(error.fields for error in more)):
            raise first
        together = copy.copy(first)  # it may be on its way to other requests, too
        together.fields = tuple(dict.fromkeys(field for error in errors for field in error.fields))
        together.detail = naming(together.fields)
        raise together from first
