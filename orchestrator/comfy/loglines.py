"""How grave a line is that a backend printed. Pure: ComfyUI's own log says the text alone, its packs what they like."""

import logging
import re

_LEVELS = {
    "CRITICAL": logging.ERROR,
    "FATAL": logging.ERROR,
    "ERROR": logging.ERROR,
    "WARNING": logging.WARNING,
    "WARN": logging.WARNING,
    "INFO": logging.INFO,
    "DEBUG": logging.DEBUG,
}
_NAMED = re.compile(rf"\b({'|'.join(_LEVELS)})\b")
_HEAD = 60
"""Characters in which a level is looked for: further on it is a word of the text."""
_ALARMS = ("Traceback (most recent call last)", "!!! Exception", "Cannot import ", "Killed")
_FAILURE = re.compile(r"^(torch\.|[\w.]*)\w*(Error|Exception)\b: ")
_WARNING = re.compile(r"\bwarning: ", re.IGNORECASE)


def level_of(line: str) -> int:
    """A level of `logging`: as the line names it, or as it sounds; INFO for everything else."""
    named = _NAMED.search(line[:_HEAD])
    if named:
        return _LEVELS[named[1]]
    if line.startswith(_ALARMS) or _FAILURE.match(line):
        return logging.ERROR
    return logging.WARNING if _WARNING.search(line[: 2 * _HEAD]) else logging.INFO
