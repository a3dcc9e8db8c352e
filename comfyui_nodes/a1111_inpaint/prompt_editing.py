"""Which text a prompt stands for at each call of the model: `AND`, prompt editing, alternation. Pure.

Rules: A1111 v1.10.1, `modules/prompt_parser.py` 15-133 (editing, alternation) and 205-237 (`AND`),
`modules/processing_scripts/comments.py` (`#` to the end of the line is left out). `[a:b:0.5]` turns from a to b at a
share of the steps (a number with a point) or after so many steps; `[a:0.5]` adds, `[a::0.5]` removes; `[a|b]` takes
turns. Brackets that form no such thing stay text, and a stray `|` makes all of a prompt text, as there. Must not know
emphasis, tokens or models.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

DEEPEST = 64
"""Brackets nested deeper than this are text: nobody means them, and reading them would need a deep stack."""

_COMMENT = re.compile(r"#[^\n]*")
_AND = re.compile(r"\bAND\b")
_NUMERAL = re.compile(r"[-+]?(?:\d+\.?|\d*\.\d+)")
_PLAIN = re.compile(r"(?:[^\\\[\]():|]|\\.)+")
_WHEN = re.compile(r"\s*([-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?)\s*]")

TextAt: TypeAlias = Callable[[int, int], str]
"""The text at a step, counted from 1, of so many."""


@dataclass(frozen=True)
class Subprompt:
    """One part of a prompt between `AND`s, and how strongly it pulls."""

    text: str
    weight: float


@dataclass(frozen=True)
class Span:
    """The text up to and with step `until` (after the span before it)."""

    until: int
    text: str


@dataclass(frozen=True)
class _Group:
    """Something in brackets that is whole: where it ends, what it says at a step, where that may change."""

    end: int
    text: TextAt
    changes: Callable[[int], set[int]]
    depth: int


@dataclass(frozen=True)
class _Sequence:
    """Groups and plain text in a row, up to `end`."""

    end: int
    parts: tuple[str | _Group, ...]

    @property
    def depth(self) -> int:
        return max((part.depth for part in self.parts if isinstance(part, _Group)), default=0)

    def text(self, step: int, steps: int) -> str:
        return "".join(part if isinstance(part, str) else part.text(step, steps) for part in self.parts)

    def changes(self, steps: int) -> set[int]:
        return set().union(*(part.changes(steps) for part in self.parts if isinstance(part, _Group)))


def without_comments(prompt: str) -> str:
    """The prompt without what stands between a `#` and the end of its line."""
    return _COMMENT.sub("", prompt)


def subprompts(prompt: str) -> tuple[Subprompt, ...]:
    """The parts between `AND`s with their weights; `a cat :0.7` alone is one part of weight 0.7."""
    return tuple(_weighted(part) for part in _AND.split(prompt))


def _weighted(part: str) -> Subprompt:
    text = part.rstrip()
    numeral = text[len(text.rstrip("+-.0123456789")) :]
    before = text[: len(text) - len(numeral)].rstrip()
    if before.endswith(":") and _NUMERAL.fullmatch(numeral):
        return Subprompt(before[:-1].rstrip(), float(numeral))
    return Subprompt(text, 1.0)


def schedule(text: str, steps: int) -> tuple[Span, ...]:
    """What `text` says over `steps` steps (1 or more); the last span ends at `steps`."""
    whole = _read(text)
    if whole is None:
        return (Span(steps, text),)
    ends = sorted({steps} | whole.changes(steps))
    return tuple(Span(end, whole.text(end, steps)) for end in ends)


def _read(text: str) -> _Sequence | None:
    """The whole prompt, or None when a stray `|` or a lone backslash makes it plain text."""
    groups: dict[int, _Group] = {}
    for place in range(len(text) - 1, -1, -1):  # from the right, so that the groups inside a group are known: no stack
        if text[place] in "([":
            group = _round(text, place, groups) if text[place] == "(" else _square(text, place, groups)
            if group is not None and group.depth <= DEEPEST:
                groups[place] = group
    parts: list[str | _Group] = []
    place = 0
    while place < len(text):
        run = _sequence(text, place, groups)
        parts += run.parts
        place = run.end
        if place < len(text):
            if text[place] not in "()[]:":
                return None
            parts.append(text[place])
            place += 1
    return _Sequence(place, tuple(parts))


def _sequence(text: str, place: int, groups: dict[int, _Group]) -> _Sequence:
    parts: list[str | _Group] = []
    while place < len(text):
        group = groups.get(place)
        plain = None if group else _PLAIN.match(text, place)
        if group:
            parts.append(group)
            place = group.end
        elif plain:
            parts.append(plain[0])
            place = plain.end()
        else:
            break
    return _Sequence(place, tuple(parts))


def _at(text: str, place: int) -> str:
    return text[place : place + 1]


def _round(text: str, place: int, groups: dict[int, _Group]) -> _Group | None:
    """`(…)` or `(…:…)`: emphasis, kept as it is, with whatever changes inside."""
    inside = [_sequence(text, place + 1, groups)]
    if _at(text, inside[0].end) == ":":
        inside.append(_sequence(text, inside[0].end + 1, groups))
    if _at(text, inside[-1].end) != ")":
        return None
    return _kept("(", inside, ")")


def _kept(opening: str, inside: list[_Sequence], closing: str) -> _Group:
    def text(step: int, steps: int) -> str:
        return opening + ":".join(part.text(step, steps) for part in inside) + closing

    def changes(steps: int) -> set[int]:
        return set().union(*(part.changes(steps) for part in inside))

    return _Group(inside[-1].end + 1, text, changes, 1 + max(part.depth for part in inside))


def _square(text: str, place: int, groups: dict[int, _Group]) -> _Group | None:
    first = _sequence(text, place + 1, groups)
    match _at(text, first.end):
        case "]":
            return _kept("[", [first], "]")
        case "|":
            return _alternating(text, first, groups)
        case ":":
            return _edited(text, first, groups)
    return None


def _alternating(text: str, first: _Sequence, groups: dict[int, _Group]) -> _Group | None:
    options = [first]
    while _at(text, options[-1].end) == "|":
        options.append(_sequence(text, options[-1].end + 1, groups))
    if _at(text, options[-1].end) != "]":
        return None

    def chosen(step: int, steps: int) -> str:
        return options[(step - 1) % len(options)].text(step, steps)

    depth = 1 + max(option.depth for option in options)
    return _Group(options[-1].end + 1, chosen, lambda steps: set(range(1, steps + 1)), depth)


def _edited(text: str, first: _Sequence, groups: dict[int, _Group]) -> _Group | None:
    """`[after:when]`, `[before:after:when]`; `first` is what stands before the first colon."""
    second = _sequence(text, first.end + 1, groups)
    if _at(text, second.end) == ":" and (when := _WHEN.match(text, second.end + 1)):
        before, after = first, second
    elif when := _WHEN.match(text, first.end + 1):
        before, after = _Sequence(first.end, ()), first
    else:
        return None
    numeral = when[1]

    def turn(steps: int) -> int:
        """The last step of `before`: a share of the steps if there is a point in the number."""
        number = float(numeral) * (steps if "." in numeral else 1)
        return int(max(min(number, steps), -1))

    def chosen(step: int, steps: int) -> str:
        return (before if step <= turn(steps) else after).text(step, steps)

    def changes(steps: int) -> set[int]:
        own = {turn(steps)} if turn(steps) >= 1 else set()
        return own | before.changes(steps) | after.changes(steps)

    return _Group(when.end(), chosen, changes, 1 + max(before.depth, after.depth))
