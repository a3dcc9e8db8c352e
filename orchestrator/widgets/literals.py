"""How a number, a model's name and a refused value are read from and shown to lenient callers.

Callers are programs that send 25, "25" or 25.0 for the same thing. Pure; knows nothing of parameters or widgets.
"""

import math
import re
from codecs import getincrementaldecoder
from collections.abc import Sequence
from decimal import Decimal
from difflib import get_close_matches

LONGEST_NAME = 200
_LONGEST_NUMERAL = 64
_LOOKED_AT, _LONGEST_KEY = 100, 64
_NUMERAL = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)


class Unreadable(ValueError):
    """A caller's value is not what its parameter takes; the text says what would be."""


def whole_number(raw: object) -> int | None:
    """The whole number that `raw` means (25, 25.0, "25", " 25.0 "), exact at any size; None if it means none."""
    if isinstance(raw, str):
        numeral = _decimal(raw)
        return int(numeral) if numeral is not None and numeral == numeral.to_integral_value() else None
    if isinstance(raw, bool):
        return None
    if isinstance(raw, float):
        return int(raw) if raw.is_integer() else None
    return raw if isinstance(raw, int) else None


def real_number(raw: object) -> float | None:
    """The finite number that `raw` means (0.7, "0.7", 1, ".5"); None if it means none (so for NaN and infinity)."""
    if isinstance(raw, str):
        numeral = _decimal(raw)
        value = math.nan if numeral is None else float(numeral)
    elif isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    else:
        try:
            value = float(raw)
        except OverflowError:
            return None
    return value if math.isfinite(value) else None


def name_fault(name: str) -> str | None:
    """What is wrong with `name` as the name or number of a model, or None. A name never is a way to a file."""
    if not name:
        return "the name is empty"
    if len(name) > LONGEST_NAME:
        return f"the name is longer than {LONGEST_NAME} characters"
    if "/" in name or "\\" in name or ".." in name or not name.isprintable():
        return "the name must not contain / or \\ or .. or control characters"
    return None


def beginning(raw: bytes, most: int) -> str | None:
    """The first `most` bytes as UTF-8, without a character that they part; None for what is not UTF-8."""
    try:
        return getincrementaldecoder("utf-8")().decode(raw[:most], final=len(raw) <= most)
    except UnicodeDecodeError:
        return None


def meant(name: str, unknown: Sequence[str]) -> str:
    """For a complaint that `name` is missing: which of the unknown keys was perhaps to be it, or nothing."""
    short = (key for key in unknown[:_LOOKED_AT] if len(key) <= _LONGEST_KEY)
    key = next((key for key in short if name in key or get_close_matches(name, [key])), None)
    return "" if key is None else f" ({shown(key)} is not known)"


def shown(raw: object) -> str:
    """`raw` as a message quotes it: short and safe whatever it is."""
    if isinstance(raw, bytes):
        text = beginning(raw, 256)
        return "a file" if text is None else shown(text)
    if isinstance(raw, str):
        text = raw if len(raw) <= 60 else raw[:60] + "…"
        return '"' + "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text) + '"'
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, int):
        return str(raw) if abs(raw) < 10**30 else "a number of very many digits"
    if isinstance(raw, float):
        return repr(raw)
    return next((name for kind, name in _KINDS if isinstance(raw, kind)), "something else")


_KINDS = ((dict, "an object"), (list, "an array"), (type(None), "null"))


def _decimal(text: str) -> Decimal | None:
    """A plain decimal numeral with blanks around it; Python's own extras ("1_000", "nan") are not numbers here."""
    text = text.strip()
    if len(text) > _LONGEST_NUMERAL or not _NUMERAL.fullmatch(text):
        return None
    return Decimal(text)
