"""How much each piece of a prompt weighs: `(x)`, `(x:1.3)`, `[x]`, escapes and `BREAK`. Pure.

Rule: A1111 v1.10.1, `modules/prompt_parser.py` 370-458. Brackets multiply: `((a:1.3))` is 1.43. A bracket that is never
closed reaches to the end. Two faults of it are mended: `BREAK` inside brackets breaks (there it becomes a word of
negative weight), and a weight that is no number (`(a:1.2.3)`) is text (there the request fails). Knows no tokens.
"""

import math
import re
from dataclasses import dataclass, field

ROUND, SQUARE = 1.1, 1 / 1.1
DEEPEST = 64
"""Brackets nested deeper than this are text, so that the work stays in proportion to the text."""

_PIECE = re.compile(r"\\[()\[\]\\]|\\|[(\[]|:\s*(?P<weight>[+-]?[.\d]+)\s*\)|[)\]]|[^\\()\[\]:]+|:")
_BREAK = re.compile(r"\bBREAK\b")


@dataclass(frozen=True)
class Run:
    """A piece of text and its weight, 1.0 being plain; text None is a BREAK."""

    text: str | None
    weight: float = 1.0


@dataclass
class _Reading:
    """What was read so far: texts, their weights, and where the open brackets began."""

    texts: list[str | None] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    round: list[int] = field(default_factory=list)
    square: list[int] = field(default_factory=list)

    def add(self, text: str | None) -> None:
        self.texts.append(text)
        self.weights.append(1.0)

    def multiply(self, start: int, factor: float) -> None:
        self.weights[start:] = [weight * factor for weight in self.weights[start:]]

    def add_text(self, text: str) -> None:
        parts = _BREAK.split(text)
        for turn, part in enumerate(parts):
            if turn:
                self.add(None)
                part = part.lstrip()
            self.add(part.rstrip() if turn < len(parts) - 1 else part)


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _take(reading: _Reading, piece: re.Match[str]) -> None:
    text = piece[0]
    weight = _number(piece["weight"])
    if text.startswith("\\"):
        reading.add(text[1:])
    elif text == "(" and len(reading.round) < DEEPEST:
        reading.round.append(len(reading.texts))
    elif text == "[" and len(reading.square) < DEEPEST:
        reading.square.append(len(reading.texts))
    elif weight is not None and reading.round:
        reading.multiply(reading.round.pop(), weight)
    elif text == ")" and reading.round:
        reading.multiply(reading.round.pop(), ROUND)
    elif text == "]" and reading.square:
        reading.multiply(reading.square.pop(), SQUARE)
    elif piece["weight"] and weight is None and reading.round:
        reading.add_text(text[:-1])
        reading.multiply(reading.round.pop(), ROUND)
    else:
        reading.add_text(text)


def weighted_runs(text: str) -> tuple[Run, ...]:
    """The prompt as runs of text, neighbours of one weight joined; at least one run, which may be empty."""
    reading = _Reading()
    for piece in _PIECE.finditer(text):
        _take(reading, piece)
    for start in reading.round:
        reading.multiply(start, ROUND)
    for start in reading.square:
        reading.multiply(start, SQUARE)
    runs: list[Run] = []
    for part, product in zip(reading.texts, reading.weights, strict=True):
        weight = product if math.isfinite(product) else 1.0
        before = runs[-1] if runs else None
        if part is None:
            runs.append(Run(None))
        elif before is not None and before.text is not None and before.weight == weight:
            runs[-1] = Run(before.text + part, weight)
        else:
            runs.append(Run(part, weight))
    return tuple(runs) or (Run(""),)
