"""A prompt's tokens in chunks of 75, cut where Stable Diffusion WebUI cuts them. Pure.

Rule: A1111 v1.10.1, `modules/sd_hijack_clip.py` 81-174 with `comma_padding_backtrack` 20: what stands after the last
comma moves to the next chunk as a whole if it is 20 tokens or fewer. Tokens are whatever the caller puts in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

ROOM = 75
BACKTRACK = 20


@dataclass(frozen=True)
class Word:
    """Tokens that are never parted: one, or all the vectors of an embedding."""

    tokens: tuple[Any, ...]
    comma: bool = False


Weighted: TypeAlias = tuple[Any, float]
"""A token and its weight."""

Chunk: TypeAlias = tuple[Weighted, ...]
"""At most 75 tokens, without start and end."""


@dataclass
class _Cutting:
    """The chunks that are closed, and the one that is filled."""

    closed: list[Chunk] = field(default_factory=list)
    open: list[Weighted] = field(default_factory=list)
    comma: int | None = None
    """Where the last comma of the open chunk stands."""

    def close(self) -> None:
        self.closed.append(tuple(self.open))
        self.open, self.comma = [], None

    def close_at_comma(self) -> None:
        """If the chunk is full and a comma is near its end, what follows the comma opens the next chunk."""
        if self.comma is None or len(self.open) < ROOM or len(self.open) - self.comma > BACKTRACK:
            return
        moved = self.open[self.comma + 1 :]
        del self.open[self.comma + 1 :]
        self.close()
        self.open = moved

    def add(self, word: Word, weight: float) -> None:
        if word.comma:
            self.comma = len(self.open)
        else:
            self.close_at_comma()
        tokens = word.tokens[:ROOM]
        if len(self.open) + len(tokens) > ROOM:
            self.close()
        self.open += [(token, weight) for token in tokens]


def cut(runs: Sequence[tuple[Sequence[Word] | None, float]]) -> tuple[Chunk, ...]:
    """Chunks from runs of words with one weight each (None in place of words is a BREAK); at least one chunk."""
    cutting = _Cutting()
    for words, weight in runs:
        if words is None:
            cutting.close()
            continue
        for word in words:
            cutting.add(word, weight)
    if cutting.open or not cutting.closed:
        cutting.close()
    return tuple(cutting.closed)
