"""From a prompt to weighted token chunks: ComfyUI's prompt syntax, in pure Python.

`(words)` weighs 1.1 times as much, `(words:1.3)` weighs 1.3 whatever is around it, `\\(` and `\\)` are plain
parentheses. Knows nothing of models; the tokenizer is handed in.
"""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

_log = logging.getLogger(__name__)

START, END = 49406, 49407
PLACES = 77
_KEPT_WHOLE = 8
"""A piece of fewer tokens than this is never broken over two chunks."""
_EMPHASIS = 1.1
_OPEN, _CLOSE = "\0\2", "\0\1"

Tokenize: TypeAlias = Callable[[str], Sequence[int]]
"""A text to its token ids, without start and end."""


@dataclass(frozen=True)
class Token:
    """One token and its weight in the prompt, 1.0 being plain."""

    id: int
    weight: float = 1.0


Chunk: TypeAlias = tuple[Token, ...]
"""Exactly 77 tokens, from START to END and padded with END."""

EMPTY: Chunk = (Token(START), *[Token(END)] * (PLACES - 1))


def _groups(text: str) -> Iterator[str]:
    """Cuts a text where an outermost parenthesis opens or closes; a stray `)` makes what follows plain text."""
    depth, begin = 0, 0
    for place, char in enumerate(text):
        if char == "(":
            if depth == 0 and place > begin:
                yield text[begin:place]
                begin = place
            depth += 1
        elif char == ")":
            depth -= 1
            if depth == 0:
                yield text[begin : place + 1]
                begin = place + 1
    if begin < len(text):
        yield text[begin:]


def _explicit(inner: str) -> tuple[str, float] | None:
    """`words:1.3` as its parts, or None when the last colon is not followed by a number."""
    colon = inner.rfind(":")
    if colon <= 0:
        return None
    try:
        return inner[:colon], float(inner[colon + 1 :])
    except ValueError:
        return None


def _weighted(text: str, weight: float) -> Iterator[tuple[str, float]]:
    for group in _groups(text):
        if len(group) >= 2 and group[0] == "(" and group[-1] == ")":
            inner = group[1:-1]
            yield from _weighted(*(_explicit(inner) or (inner, weight * _EMPHASIS)))
        else:
            yield group, weight


def pieces(prompt: str) -> list[tuple[str, float]]:
    """The prompt as runs of text of one weight each, in order."""
    hidden = prompt.replace("\\)", _CLOSE).replace("\\(", _OPEN)
    return [(run.replace(_CLOSE, ")").replace(_OPEN, "("), weight) for run, weight in _weighted(hidden, 1.0)]


def _words(run: str) -> Iterator[str]:
    """Parts that are tokenized apart, without the names `embedding:name`: textual inversion is not offered.

    As ComfyUI reads what it has no file for: the name ends at a space, and commas beside it stay.
    """
    first, *named = re.split(r"[ \n]embedding:", f" {run}" if run.startswith("embedding:") else run)
    parts = [first]
    for part in named:
        name, *rest = part.split() or [""]
        _log.warning("Textual inversion is not supported: embedding:%s left out", name.strip(","))
        commas = name[len(name.strip(",")) :]
        parts.append(" ".join([commas, *rest] if commas else rest))
    yield from filter(None, parts)


def chunks(prompt: str, tokenize: Tokenize) -> list[Chunk]:
    """The prompt as chunks of 75 tokens between START and END; one chunk for an empty prompt."""
    done: list[list[Token]] = [[]]
    room = PLACES - 2
    for run, weight in pieces(prompt):
        for word in _words(run):
            tokens = [Token(token, weight) for token in tokenize(word)]
            breakable = len(tokens) >= _KEPT_WHOLE
            while len(tokens) + len(done[-1]) > room:
                cut = room - len(done[-1]) if breakable else 0
                done[-1] += tokens[:cut]
                tokens = tokens[cut:]
                done.append([])
            done[-1] += tokens
    return [_filled(tokens) for tokens in done]


def _filled(tokens: list[Token]) -> Chunk:
    return (Token(START), *tokens, *[Token(END)] * (PLACES - 1 - len(tokens)))
