"""The one place where code of others runs and may raise anything: nodes, and the import of packs.

Everything else in this program lets unexpected exceptions pass; here they become a value, and are logged.
"""

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The client asked for the run to stop; raised by the monitor and passed through, never turned into a failure."""


@dataclass(frozen=True)
class Failed:
    """What a node raised, in the words that ComfyUI uses for it."""

    kind: str
    text: str
    trace: tuple[str, ...]


def failure(error: Exception) -> Failed:
    """An exception as ComfyUI reports it: its class with the module, its text, its traceback."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return Failed(name, str(error), tuple(traceback.format_tb(error.__traceback__)))


def attempt(function: Callable[..., Any], *arguments: Any, **inputs: Any) -> Any | Failed:
    """Calls foreign code. Gives what it returns or Failed; only Interrupted passes through.

    An exception whose class says `input_at_fault` is an answer, and logged without a traceback.
    """
    try:
        return function(*arguments, **inputs)
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 - the edge to foreign code
        if getattr(error, "input_at_fault", False):
            _log.info("A node refused its input: %s", error)
        else:
            _log.error("A node failed: %s", error, exc_info=error)
        return failure(error)
