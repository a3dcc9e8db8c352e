"""Nodes that turn prompts into conditionings: ComfyUI's lists of [states, extras]."""

from dataclasses import replace
from typing import Any, TypeAlias

import torch

from orchestrator.embedded.catalogue import InputSpec, NodeClass, Result
from orchestrator.embedded.checkpoint import Clip

Conditioning: TypeAlias = list[list[Any]]


def _encode(text: str, clip: Clip) -> Result:
    return Result(([[clip.encode(text), {}]],))


def _set_last_layer(clip: Clip, stop_at_clip_layer: int) -> Result:
    return Result((replace(clip, stop=stop_at_clip_layer),))


def _zero_out(conditioning: Conditioning) -> Result:
    return Result(([[torch.zeros_like(states), dict(extras)] for states, extras in conditioning],))


def classes() -> tuple[NodeClass, ...]:
    """The text nodes."""
    return (
        NodeClass(
            name="CLIPTextEncode",
            title="CLIP Text Encode (Prompt)",
            category="conditioning",
            inputs=lambda: (
                InputSpec("text", "STRING", {"multiline": True, "dynamicPrompts": True}),
                InputSpec("clip", "CLIP"),
            ),
            outputs=("CONDITIONING",),
            make=lambda: _encode,
        ),
        NodeClass(
            name="CLIPSetLastLayer",
            title="CLIP Set Last Layer",
            category="conditioning",
            inputs=lambda: (
                InputSpec("clip", "CLIP"),
                InputSpec("stop_at_clip_layer", "INT", {"default": -1, "min": -24, "max": -1, "step": 1}),
            ),
            outputs=("CLIP",),
            make=lambda: _set_last_layer,
        ),
        NodeClass(
            name="ConditioningZeroOut",
            title="ConditioningZeroOut",
            category="advanced/conditioning",
            inputs=lambda: (InputSpec("conditioning", "CONDITIONING"),),
            outputs=("CONDITIONING",),
            make=lambda: _zero_out,
        ),
    )
