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
_NAMED = re.compile(rf"[^A-Za-z]*(?:\[[^\]]*\][^A-Za-z]*)?({'|'.join(_LEVELS)})\b")
"""At the start, after a time and the bracketed name of a pack at most: further on it is a word of the text."""
_HEAD = 120
"""Characters that are looked at: a line may be as long as a picture."""
_ALARMS = ("Traceback (most recent call last)", "!!! Exception", "Cannot import ", "Killed")
_FAILURE = re.compile(r"[\w.]*(Error|Exception): ")
_WARNING = re.compile(r"warning: ", re.IGNORECASE)


def level_of(line: str) -> int:
    """A level of `logging`: as the line names it, or as it sounds; INFO for everything else."""
    head = line[:_HEAD]
    named = _NAMED.match(head)
    if named:
        return _LEVELS[named[1]]
    if head.startswith(_ALARMS) or _FAILURE.match(head):
        return logging.ERROR
    return logging.WARNING if _WARNING.search(head) else logging.INFO
