"""Node: a prompt as Stable Diffusion WebUI reads it, to a CONDITIONING that carries its schedule.

Rules: A1111 v1.10.1, `modules/prompt_parser.py` 205-349. Each entry of the CONDITIONING is one text of one part between
`AND`s; what `Turn` says of it, A1111 Sampler reads. Must not know how the sampler uses it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .prompt_editing import Subprompt, schedule, subprompts
from .prompt_encoding import Encoded, Encoder

TURN = "a1111_turn"
"""The key under which an entry of a CONDITIONING carries its Turn."""


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


def _calls(text: str, steps: int) -> dict[str, list[tuple[int, int]]]:
    """The texts of a schedule, each with the calls at which it is in use."""
    calls: dict[str, list[tuple[int, int]]] = {}
    first = 0
    for span in schedule(text, steps):
        calls.setdefault(span.text, []).append((first, span.until))
        first = span.until + 1
    return calls


def _entries(encoder: Encoder, number: int, part: Subprompt, steps: int) -> list[list[Any]]:
    orders = {order: _calls(part.text, steps * order) for order in (1, 2)}
    in_batch = [span.text for span in schedule(part.text, steps)]
    texts = list(dict.fromkeys([*in_batch, *orders[2]]))
    batch = [*in_batch, *(text for text in texts if text not in orders[1])]
    encoded = dict(zip(batch, encoder.encode(batch), strict=True))
    return [
        _entry(
            encoded[text],
            Turn(number, part.weight, {order: tuple(calls.get(text, ())) for order, calls in orders.items()}),
        )
        for text in texts
    ]


def _entry(encoded: Encoded, turn: Turn) -> list[Any]:
    extras = {} if encoded.pooled is None else {"pooled_output": encoded.pooled}
    return [encoded.states, extras | {TURN: turn}]


def conditioning(encoder: Encoder, text: str, steps: int, negative: bool) -> list[list[Any]]:
    """ComfyUI's CONDITIONING of a prompt. `AND` and `:weight` mean something in the positive prompt alone."""
    if negative and encoder.is_sdxl and not text.strip():
        always = {order: ((0, steps * order),) for order in (1, 2)}
        return [_entry(encoder.zeros(), Turn(0, 1.0, always))]
    parts = (Subprompt(text, 1.0),) if negative else subprompts(text)
    return [entry for number, part in enumerate(parts) for entry in _entries(encoder, number, part, steps)]


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
