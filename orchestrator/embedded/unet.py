"""Stable Diffusion 1.5's UNet: its shape and names read from a checkpoint's keys, built as diffusers' module.

Levels, residual blocks and transformers are counted, as ComfyUI does, so that smaller nets of the same kind load.
Names map from the LDM layout (github.com/CompVis/latent-diffusion) to diffusers'.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from orchestrator.embedded.narrowing import narrow
from orchestrator.embedded.unsupported import UnsupportedModel

State: TypeAlias = Mapping[str, Tensor]

WIDTH, LATENT_CHANNELS, CONTEXT = 320, 4, 768
INPAINTING_CHANNELS = 9
"""Latent, mask and the latent of the surroundings."""

_RESIDUAL = (
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
)
_ENDS = (
    ("input_blocks.0.0", "conv_in"),
    ("time_embed.0", "time_embedding.linear_1"),
    ("time_embed.2", "time_embedding.linear_2"),
    ("out.0", "conv_norm_out"),
    ("out.2", "conv_out"),
)


@dataclass(frozen=True)
class Level:
    """One resolution: channels, residual blocks on the way down, transformer blocks after each (0 for none)."""

    channels: int
    blocks: int
    transformers: int


@dataclass(frozen=True)
class Shape:
    """The levels from the finest, and the depth of the middle's transformer."""

    levels: tuple[Level, ...]
    middle: int


def _depth(state: State, transformer: str) -> int:
    prefix = f"{transformer}.transformer_blocks."
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def _check_kind(state: State) -> None:
    first = state.get("input_blocks.0.0.weight")
    if first is None:
        raise UnsupportedModel("The file holds no UNet of Stable Diffusion's layout.")
    if first.shape[0] != WIDTH or "label_emb.0.0.weight" in state:
        raise UnsupportedModel(
            "The embedded backend runs Stable Diffusion 1.5 checkpoints only; this is another family."
        )
    if first.shape[1] not in (LATENT_CHANNELS, INPAINTING_CHANNELS):
        raise UnsupportedModel(
            f"The embedded backend runs UNets with 4 input channels, or 9 for inpainting; this has {first.shape[1]}."
        )
    contexts = {tensor.shape[1] for name, tensor in state.items() if name.endswith("attn2.to_k.weight")}
    projections = {tensor.dim() for name, tensor in state.items() if name.endswith("proj_in.weight")}
    if contexts - {CONTEXT} or projections - {4}:
        raise UnsupportedModel(
            "The embedded backend runs Stable Diffusion 1.5 checkpoints only; this reads another text encoder."
        )


def shape_of(state: State) -> Shape:
    """The shape of the net whose LDM-named tensors these are; UnsupportedModel when it is not an SD1.5 one."""
    _check_kind(state)
    levels: list[Level] = []
    channels = blocks = depth = 0
    place = 1
    while True:
        block = f"input_blocks.{place}"
        if f"{block}.0.in_layers.2.weight" in state:
            channels = state[f"{block}.0.in_layers.2.weight"].shape[0]
            found = _depth(state, f"{block}.1")
            if blocks and found != depth:
                raise UnsupportedModel("The UNet has levels of which only some blocks have transformers.")
            blocks, depth = blocks + 1, found
        else:
            levels.append(Level(channels, blocks, depth))
            blocks = depth = 0
            if f"{block}.0.op.weight" not in state:
                break
        place += 1
    middle = _depth(state, "middle_block.1")
    if not middle:
        raise UnsupportedModel("The UNet has no transformer in the middle, unlike Stable Diffusion 1.5.")
    return Shape(tuple(levels), middle)


def _residual(ldm: str, diffusers: str) -> Iterator[tuple[str, str]]:
    return ((f"{ldm}.{old}", f"{diffusers}.{new}") for old, new in _RESIDUAL)


def _down(shape: Shape) -> Iterator[tuple[str, str]]:
    place = 1
    for index, level in enumerate(shape.levels):
        for turn in range(level.blocks):
            yield from _residual(f"input_blocks.{place}.0", f"down_blocks.{index}.resnets.{turn}")
            yield f"input_blocks.{place}.1", f"down_blocks.{index}.attentions.{turn}"
            place += 1
        yield f"input_blocks.{place}.0.op", f"down_blocks.{index}.downsamplers.0.conv"
        place += 1


def _up(shape: Shape) -> Iterator[tuple[str, str]]:
    place = 0
    for index, level in enumerate(reversed(shape.levels)):
        for turn in range(level.blocks + 1):
            yield from _residual(f"output_blocks.{place}.0", f"up_blocks.{index}.resnets.{turn}")
            if level.transformers:
                yield f"output_blocks.{place}.1", f"up_blocks.{index}.attentions.{turn}"
            place += 1
        upsampler = 2 if level.transformers else 1
        yield f"output_blocks.{place - 1}.{upsampler}.conv", f"up_blocks.{index}.upsamplers.0.conv"


def names(shape: Shape) -> dict[str, str]:
    """LDM prefix to diffusers prefix of every part that has a name of its own in both layouts."""
    middle = [
        *_residual("middle_block.0", "mid_block.resnets.0"),
        ("middle_block.1", "mid_block.attentions.0"),
        *_residual("middle_block.2", "mid_block.resnets.1"),
    ]
    return dict([*_ENDS, *_down(shape), *middle, *_up(shape)])


def renamed(state: State, shape: Shape) -> dict[str, Tensor]:
    """The same tensors under diffusers' names, float32; UnsupportedModel names a tensor that has none."""
    pairs = names(shape)
    result = {}
    for name, tensor in state.items():
        parts = name.split(".")
        prefixes = (".".join(parts[:length]) for length in range(len(parts) - 1, 0, -1))
        prefix = next((prefix for prefix in prefixes if prefix in pairs), None)
        if prefix is None:
            raise UnsupportedModel(f"The UNet has a part that Stable Diffusion 1.5 lacks: {name}.")
        result[pairs[prefix] + name[len(prefix) :]] = tensor.float()
    return result


def _options(shape: Shape, channels: int) -> dict[str, Any]:
    crossed = [bool(level.transformers) for level in shape.levels]
    depths = [level.transformers or 1 for level in shape.levels]
    depths[-1] = shape.levels[-1].transformers or shape.middle  # diffusers builds the middle as deep as the last level
    return {
        "in_channels": channels,
        "out_channels": LATENT_CHANNELS,
        "block_out_channels": tuple(level.channels for level in shape.levels),
        "layers_per_block": tuple(level.blocks for level in shape.levels),
        "down_block_types": tuple("CrossAttnDownBlock2D" if cross else "DownBlock2D" for cross in crossed),
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "up_block_types": tuple("CrossAttnUpBlock2D" if cross else "UpBlock2D" for cross in reversed(crossed)),
        "transformer_layers_per_block": tuple(depths),
        "cross_attention_dim": CONTEXT,
        "attention_head_dim": 8,
    }


def build(state: State) -> Any:
    """diffusers' UNet2DConditionModel with the tensors of an LDM-named state dict (without its prefix), in float32.

    Raises UnsupportedModel when they are not all those of a Stable Diffusion 1.5 UNet.
    """
    from diffusers import UNet2DConditionModel

    shape = shape_of(state)
    with torch.device("meta"):
        net = UNet2DConditionModel(**_options(shape, state["input_blocks.0.0.weight"].shape[1]))
    try:
        net.load_state_dict(renamed(state, shape), assign=True)
    except RuntimeError as error:
        raise UnsupportedModel(f"The UNet's tensors are not those of Stable Diffusion 1.5: {error}") from error
    return narrow(net.eval().requires_grad_(False))
