"""Node: a prompt as Stable Diffusion WebUI reads it, to a CONDITIONING that carries its schedule.

Rules: A1111 v1.10.1, `modules/prompt_parser.py` 205-349; of parts between `AND`s the shorter get their last vector
repeated up to the longest's length. Each entry of the CONDITIONING is one text of one part; what `Turn` says of it,
A1111 Sampler reads. Must not know how the sampler uses it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .prompt_editing import Subprompt, schedule, subprompts, without_comments
from .prompt_encoding import Encoded, Encoder

TURN = "a1111_turn"
"""The key under which an entry of a CONDITIONING carries its Turn."""

MOST_CHUNKS = 512
"""What one prompt may need, over all its texts, in chunks of 75 tokens: each is 0.2 MB on SD1.5, 0.6 MB on SDXL."""

Calls: TypeAlias = Mapping[str, Sequence[tuple[int, int]]]
"""The texts of a schedule, each with the (first, last) calls at which it is in use."""


class TooLong(ValueError):
    """A prompt stands for so many texts, or such long ones, that reading them would take the machine's memory.

    The service knows it by its name, and tells it to whoever wrote the prompt.
    """

    input_at_fault = True
    """For the embedded backend, which then logs no traceback: nothing is broken."""


@dataclass(frozen=True)
class Turn:
    """When a text is in use: `part` counts the parts between `AND`s, `weight` is that part's.

    `calls[order]` lists (first, last) calls of the model, counted from 0, for samplers that call it `order` (1 or 2)
    times a step.
    """

    part: int
    weight: float
    calls: Mapping[int, tuple[tuple[int, int], ...]]

    def at(self, call: int, order: int) -> bool:
        """Whether the text is in use at that call."""
        return any(first <= call <= last for first, last in self.calls[order])


@dataclass(frozen=True)
class _Part:
    """What stands between two `AND`s: the texts it takes turns with, for samplers of each order."""

    weight: float
    calls: Mapping[int, Calls]
    turns: Mapping[str, int]
    """How often each text has its turn in what A1111 reads as one batch for a sampler of order 1; the others once."""


def _calls(text: str, steps: int) -> Calls:
    """When each text of a prompt is in use over so many calls."""
    calls: dict[str, list[tuple[int, int]]] = {}
    first = 0
    for span in schedule(text, steps):
        calls.setdefault(span.text, []).append((first, span.until))
        first = span.until + 1
    return calls


def _part(part: Subprompt, steps: int) -> _Part:
    calls = {order: _calls(part.text, steps * order) for order in (1, 2)}
    turns = Counter({text: len(spans) for text, spans in calls[1].items()})
    return _Part(part.weight, calls, turns | Counter(list(calls[2])))


def _check_size(encoder: Encoder, parts: Sequence[_Part]) -> None:
    """Raises TooLong, before any text is encoded."""
    texts = [text for part in parts for text in part.turns]
    longest = 1
    for text in texts:
        longest = max(longest, len(encoder.chunks(text)))
        if longest * len(texts) > MOST_CHUNKS:
            raise TooLong(
                f"the prompt is too much to read: its longest wording has {longest} chunks of 75 tokens, times "
                f"{len(texts)} for its steps and parts, where {MOST_CHUNKS} chunks in all are the most"
            )


def _entries(encoder: Encoder, number: int, part: _Part) -> list[list[Any]]:
    encoded = encoder.encode(part.turns)
    return [
        _entry(
            encoded[text],
            Turn(number, part.weight, {order: tuple(calls.get(text, ())) for order, calls in part.calls.items()}),
        )
        for text in part.turns
    ]


def _entry(encoded: Encoded, turn: Turn) -> list[Any]:
    extras = {} if encoded.pooled is None else {"pooled_output": encoded.pooled}
    return [encoded.states, extras | {TURN: turn}]


def _as_long(states: Tensor, places: int) -> Tensor:
    """The states with the last one repeated up to so many."""
    return torch.cat([states, states[:, -1:].expand(-1, places - states.shape[1], -1)], 1)


def conditioning(encoder: Encoder, text: str, steps: int, negative: bool) -> list[list[Any]]:
    """ComfyUI's CONDITIONING of a prompt. `AND` and `:weight` mean something in the positive prompt alone.

    Parts of unequal length are made equal as A1111 does it. Raises TooLong.
    """
    text = without_comments(text)
    if negative and encoder.is_sdxl and not text.strip():
        always = {order: ((0, steps * order),) for order in (1, 2)}
        return [_entry(encoder.zeros(), Turn(0, 1.0, always))]
    parts = [_part(part, steps) for part in ((Subprompt(text, 1.0),) if negative else subprompts(text))]
    _check_size(encoder, parts)
    entries = [entry for number, part in enumerate(parts) for entry in _entries(encoder, number, part)]
    places = max(states.shape[1] for states, _ in entries)
    return [[_as_long(states, places), extras] for states, extras in entries]


class A1111Prompt:
    """CLIP and text → CONDITIONING, one entry for each text that is in use at some step."""

    CATEGORY = "inpaint/a1111"
    DESCRIPTION = (
        "Reads a prompt as Stable Diffusion WebUI does: (emphasis:1.3) that multiplies, [less], BREAK, AND, "
        "[from:to:0.5], [a|b], chunks of 75 tokens, embeddings by their bare name. A prompt that changes between "
        "steps, or has AND, needs A1111 Sampler; any other runs in every sampler."
    )
    FUNCTION = "encode"
    RETURN_TYPES = ("CONDITIONING",)
    RETURN_NAMES = ("conditioning",)
    OUTPUT_TOOLTIPS = ("The prompt, with the steps at which each text of it is in use.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        steps = "The sampler's steps. Only prompts that change between steps, as [from:to:0.5], depend on it."
        kind = "A negative prompt has no AND; left empty on SDXL it is zeros."
        return {
            "required": {
                "clip": ("CLIP", {"tooltip": "The text encoder, of SD1.5 or SDXL."}),
                "text": ("STRING", {"multiline": True, "tooltip": "The prompt in Stable Diffusion WebUI's syntax."}),
                "kind": (["positive", "negative"], {"tooltip": kind}),
                "steps": ("INT", {"default": 25, "min": 1, "max": 10000, "tooltip": steps}),
            }
        }

    def encode(self, clip: Any, text: str, kind: str, steps: int) -> tuple[list[list[Any]]]:
        import folder_paths  # ComfyUI's; only this asks for it

        encoder = Encoder(clip, folder_paths.get_filename_list("embeddings"))
        return (conditioning(encoder, text, steps, kind == "negative"),)
