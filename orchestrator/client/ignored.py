"""The warning of parameters that a widget does not know, such as misspelt ones; it runs without them."""

import sys
import warnings
from pathlib import Path

from orchestrator.client.answers import Job

_HERE = str(Path(__file__).parent)


class IgnoredParameters(UserWarning):
    """The widget does not know some of the parameters that were given."""


def warn_of_ignored(job: Job) -> None:
    """Warns at the caller's own line, if any were ignored.

    By `warnings` and not by logging, as Python's logging HOWTO has it for what the calling program should mend: shown
    once for each line, and made an error or silenced by a filter for `IgnoredParameters`.
    """
    if not job.ignored:
        return
    level, frame = 1, sys._getframe()
    while frame.f_code.co_filename.startswith(_HERE) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    names = ", ".join(job.ignored)
    warnings.warn(f"the widget {job.widget} has no such parameters: {names}", IgnoredParameters, stacklevel=level)
