"""From text to what the model reads, with any CLIP that ComfyUI hands over for SD1.5 or SDXL.

Rules: A1111 v1.10.1, `modules/sd_hijack_clip.py` (chunks, encoders), `modules/sd_emphasis.py` 36-46 ("Original"
emphasis: multiply, then restore the mean of each chunk and encoder), `modules/textual_inversion` 245-256 (an
embedding's name is found among the tokens, wherever it stands). Of CLIP it asks `tokenize` and `encode_from_tokens`
alone. Must not know schedules or `AND`.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .prompt_chunks import Chunk, Word, cut
from .prompt_emphasis import weighted_runs

START, END, PLACES = 49406, 49407, 77
_COMMA = 267
_SPELLED_END = "<|endoftext|>"
"""Written in a prompt this is the token END itself, and what follows it still counts."""
_COMFYUI_S_OWN = re.compile(r"(?<=embedding)(?=:)|(<\|endoftext\|>)", re.IGNORECASE)
"""Where a text has to be parted for ComfyUI to read it as plain: between `embedding` and its colon (which alters no
token), and around an END, which could not be told from the end of what was read."""
_LETTERS_IN_ONE = range(0xFB00, 0xFB05)
_FULL_WIDTH = range(0xFF01, 0xFF5F)
_STRAIGHT = {
    **dict.fromkeys((0x2BC, *range(0x2018, 0x201C)), "'"),
    **dict.fromkeys(range(0x201C, 0x2020), '"'),
    **{code: unicodedata.normalize("NFKC", chr(code)) for code in (*_LETTERS_IN_ONE, *_FULL_WIDTH)},
}
"""Typographic characters that A1111's tokenizer reads as plain ones (ftfy does it there), and ComfyUI's does not."""
_CLIP_L_WIDTH = 768
_NO_MEAN = 1e-5
"""A mean this small beside the size of the values is rounding."""
_KNOWN = ({"l"}, {"l", "g"})

Vectors: TypeAlias = Mapping[str, Tensor]
"""An embedding: encoder ("l", "g") to [vectors, width]."""


class NotForThisModel(ValueError):
    """The CLIP is neither SD1.5's nor SDXL's."""


@dataclass(frozen=True)
class Encoded:
    """What one text gives: states [1, 77 n, width] and the pooled state of its first chunk (None if there is none)."""

    states: Tensor
    pooled: Tensor | None


class Encoder:
    """Reads texts with one CLIP; `names` are the embeddings' files as ComfyUI lists them."""

    def __init__(self, clip: Any, names: Iterable[str] = ()) -> None:
        self._clip = clip
        self.keys = tuple(clip.tokenize(""))
        if set(self.keys) not in _KNOWN:
            raise NotForThisModel(
                f"A1111 Prompt reads for SD1.5 and SDXL; this CLIP has the text encoders {', '.join(self.keys)}"
            )
        self._embeddings: dict[str, Vectors | None] = {}
        self._chunks: dict[str, tuple[Chunk, ...]] = {}
        self._names = [(ids, name) for name in names if (ids := self._ids(PurePath(name).stem))]
        self._names.sort(key=lambda named: -len(named[0]))

    @property
    def is_sdxl(self) -> bool:
        """Whether there are two text encoders."""
        return len(self.keys) == 2

    def zeros(self) -> Encoded:
        """What SDXL was trained to read as "no text": nothing but zeros."""
        empty = self._encode_chunks(((),))
        return Encoded(torch.zeros_like(empty.states), None if empty.pooled is None else torch.zeros_like(empty.pooled))

    def chunks(self, text: str) -> tuple[Chunk, ...]:
        """The text's tokens, at least one chunk."""
        if text not in self._chunks:
            self._chunks[text] = cut([(self._words(run.text), run.weight) for run in weighted_runs(text)])
        return self._chunks[text]

    def encode(self, turns: Mapping[str, int]) -> dict[str, Encoded]:
        """The texts that take turns in one prompt, with how often each has its turn; all get as many chunks.

        A1111 reads all turns as one batch, and the mean that emphasis restores is the batch's.
        """
        most = max(len(self.chunks(text)) for text in turns)
        padded = [(*self.chunks(text), *[()] * (most - len(self.chunks(text)))) for text in turns]
        read = [self._encode_chunks(chunks) for chunks in padded]
        states = [one.states for one in read]
        weights = [_weights(chunks).to(states[0]) for chunks in padded]
        emphasized = emphasize(states, weights, _widths(states[0], self.keys), list(turns.values()))
        answers = [Encoded(weighed, one.pooled) for weighed, one in zip(emphasized, read, strict=True)]
        return dict(zip(turns, answers, strict=True))

    def _encode_chunks(self, chunks: Sequence[Chunk]) -> Encoded:
        tokens = {key: [_filled(chunk, key) for chunk in chunks] for key in self.keys}
        states, pooled = self._clip.encode_from_tokens(tokens, return_pooled=True)
        return Encoded(states, pooled)

    def _ids(self, text: str) -> list[int]:
        """Token ids without start and end. ComfyUI's own syntax in the text is made harmless first."""
        ids: list[int] = []
        for part in filter(None, _COMFYUI_S_OWN.split(text.translate(_STRAIGHT))):
            if part.lower() == _SPELLED_END:
                ids.append(END)
                continue
            escaped = part.replace("(", "\\(").replace(")", "\\)")
            for batch in self._clip.tokenize(escaped)["l"]:
                for token, *_ in batch[1:]:
                    if token == END:
                        break
                    ids.append(int(token))
        return ids

    def _words(self, text: str | None) -> list[Word] | None:
        return None if text is None else list(self._found(self._ids(text)))

    def _found(self, ids: list[int]) -> Iterator[Word]:
        place = 0
        while place < len(ids):
            for name_ids, name in self._names:
                if ids[place : place + len(name_ids)] == name_ids and (vectors := self._vectors(name)):
                    count = len(next(iter(vectors.values())))
                    yield Word(tuple({key: vectors[key][turn] for key in self.keys} for turn in range(count)))
                    place += len(name_ids)
                    break
            else:
                yield Word((ids[place],), comma=ids[place] == _COMMA)
                place += 1

    def _vectors(self, name: str) -> Vectors | None:
        """The embedding in the file of that name; None if it lacks vectors for one of the encoders."""
        if name not in self._embeddings:
            batches = self._clip.tokenize(f"embedding:{name}")
            found = {
                key: [token for batch in batches[key] for token, *_ in batch if isinstance(token, Tensor)]
                for key in self.keys
            }
            whole = len({len(vectors) for vectors in found.values()}) == 1 and all(found.values())
            self._embeddings[name] = {key: torch.stack(vectors) for key, vectors in found.items()} if whole else None
        return self._embeddings[name]


def _filled(chunk: Chunk, key: str) -> list[tuple[Any, float]]:
    """The chunk as one encoder gets it: 77 tokens of weight 1. CLIP-L is padded with its end, CLIP-G with zeros."""
    tokens = [token[key] if isinstance(token, Mapping) else token for token, _ in chunk]
    padding = [END if key == "l" else 0] * (PLACES - 2 - len(tokens))
    return [(token, 1.0) for token in (START, *tokens, END, *padding)]


def _weights(chunks: Sequence[Chunk]) -> Tensor:
    """[1, 77 n, 1]; start, end and padding weigh 1."""
    rows = [[1.0, *(weight for _, weight in chunk), *[1.0] * (PLACES - 1 - len(chunk))] for chunk in chunks]
    return torch.tensor(rows).reshape(1, -1, 1)


def _widths(states: Tensor, keys: Sequence[str]) -> tuple[int, ...]:
    """How wide each encoder's share of the states is: CLIP-L comes first."""
    return (_CLIP_L_WIDTH, states.shape[-1] - _CLIP_L_WIDTH) if len(keys) == 2 else (states.shape[-1],)


def emphasize(
    states: Sequence[Tensor], weights: Sequence[Tensor], widths: Sequence[int], counts: Sequence[int]
) -> list[Tensor]:
    """States [1, 77 n, width] multiplied by weights [1, 77 n, 1], each chunk and encoder brought back to its mean.

    The mean is over all the `states`, each as often as its count says. A chunk without emphasis keeps its exact values;
    where the mean is zero but for rounding (an encoder whose last norm has no bias, as the demo model's) there is none
    to restore.
    """
    shares = torch.tensor(counts).to(states[0]) / sum(counts)

    def mean(parts: Sequence[Tensor]) -> Tensor:
        return (torch.stack([part.mean() for part in parts]) * shares).sum()

    result = [one.clone() for one in states]
    for chunk in range(states[0].shape[1] // PLACES):
        rows = slice(chunk * PLACES, (chunk + 1) * PLACES)
        if all(bool((weight[:, rows] == 1).all()) for weight in weights):
            continue
        left = 0
        for width in widths:
            columns = slice(left, left + width)
            left += width
            plain = [one[:, rows, columns] for one in states]
            weighed = [part * weight[:, rows] for part, weight in zip(plain, weights, strict=True)]
            before, after = mean(plain), mean(weighed)
            least = _NO_MEAN * mean([part.square() for part in plain]).sqrt()
            restoring = 1.0 if min(before.abs(), after.abs()) <= least else before / after
            for one, part in zip(result, weighed, strict=True):
                one[:, rows, columns] = part * restoring
    return result
