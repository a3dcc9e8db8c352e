"""What JavaScript makes of values where the editor leaves it to the language: text, rounding. Pure."""

import math
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal


def text(value: object) -> str:
    """`String(value)` of a JSON value."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float():
            return _number_text(value)
        case list() | tuple():
            return ",".join("" if item is None else text(item) for item in value)
        case Mapping():
            return "[object Object]"
    return str(value)


def _number_text(value: float) -> str:
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return repr(value).replace("e-0", "e-")


def number(value: object) -> float | None:
    """`Number(value)` of a JSON value; None for what is not a number."""
    match value:
        case None:
            return 0
        case bool():
            return int(value)
        case int() | float():
            return value if math.isfinite(value) else None
        case str():
            return _number_in(value.strip() or "0")
    return None


def _number_in(text: str) -> float | None:
    try:
        found = float(text) if "_" not in text else math.nan
    except ValueError:
        return None
    return _plain(found) if math.isfinite(found) else None


def rounded_integer(value: float, options: Mapping[str, object]) -> float:
    """A whole-number field's value after a change: the nearest multiple of `step`, counted from `min`."""
    step, least = option(options, "step", 1) or 1, option(options, "min", 0)
    if step == 1:
        return _plain(_round(value))
    offset = math.fmod(least, step) if math.isfinite(least) else 0
    return _plain(_round((value - offset) / step) * step + offset)


def rounded_float(value: float, options: Mapping[str, object]) -> float:
    """A number field's value after a change: rounded as `round` or else `step` says, then kept in `min` to `max`."""
    step = option(options, "step", 0.5)
    precision = max(0, -math.floor(math.log10(step))) if step > 0 else 0
    unit = option(options, "round", 0)
    if precision and not unit:
        unit = 10**-precision
    if unit <= 0 or abs(value) >= 2**53:
        return value
    digits = Decimal(1).scaleb(-precision)
    exact = Decimal(_round(value / unit) * unit).quantize(digits, rounding=ROUND_HALF_UP)
    return _plain(min(max(float(exact), option(options, "min", 0)), option(options, "max", 2048)))


def _round(value: float) -> float:
    """`Math.round`: the nearest whole number, halves go up."""
    return value if isinstance(value, int) or math.isinf(value) else math.floor(value + 0.5)


def _plain(value: float) -> float:
    """JavaScript knows one kind of number; a whole one is written without a point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def option(options: Mapping[str, object], name: str, default: float) -> float:
    """A number among a field's options."""
    value = options.get(name)
    return default if isinstance(value, bool) or not isinstance(value, int | float) else value
