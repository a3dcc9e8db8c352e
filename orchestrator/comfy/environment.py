"""What a backend that the service starts inherits of its environment: all but the service's own settings.

A backend runs node packs of others, and the settings hold secrets. Must not know which they are.
"""

import os
from collections.abc import Mapping

_OWN = "ORCHESTRATOR_"
_FOR_PACKS = "ORCHESTRATOR_PUBLISH_"


def inherited(more: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child process, with `more`."""
    passed = (name for name in os.environ if not name.startswith(_OWN) or name.startswith(_FOR_PACKS))
    return {name: os.environ[name] for name in passed} | dict(more)
