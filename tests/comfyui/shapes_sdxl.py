"""SDXL checkpoints with random weights, of the smallest shapes in which ComfyUI still sees the family.

Detection fixes the widths and how many transformer blocks the way down has; one level, and none on the way back, pass.
The two text encoders are of full size, but their layers are zeros, which the file holds as holes.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from orchestrator.demo_model import vae
from tests.unit.embedded.conftest import INNER, TIME, WIDTH, Drawn

CONTEXT, POOLED, VOCABULARY = 2048, 2816, 49408
_DEPTHS = (0, 0, 2, 2, 10, 10)
_ENCODERS = (("conditioner.embedders.0.transformer.text_model.", 768), ("conditioner.embedders.1.model.", 1280))

Shapes = dict[str, tuple[int, ...]]


def _transformer(state: Drawn, name: str, depth: int) -> None:
    state.norm(f"{name}.norm", WIDTH)
    state.layer(f"{name}.proj_in", WIDTH, WIDTH)
    for number in range(depth):
        block = f"{name}.transformer_blocks.{number}"
        for attention, into in (("attn1", WIDTH), ("attn2", CONTEXT)):
            state.layer(f"{block}.{attention}.to_q", WIDTH, WIDTH, bias=False)
            state.layer(f"{block}.{attention}.to_k", WIDTH, into, bias=False)
            state.layer(f"{block}.{attention}.to_v", WIDTH, into, bias=False)
            state.layer(f"{block}.{attention}.to_out.0", WIDTH, WIDTH)
        for norm in ("norm1", "norm2", "norm3"):
            state.norm(f"{block}.{norm}", WIDTH)
        state.layer(f"{block}.ff.net.0.proj", 2 * INNER, WIDTH)
        state.layer(f"{block}.ff.net.2", WIDTH, INNER)
    state.layer(f"{name}.proj_out", WIDTH, WIDTH)


def small_unet(channels: int) -> dict[str, Tensor]:
    """SDXL's layout with one level; `channels` is 4, or 9 for an inpainting model."""
    state = Drawn(7)
    state.layer("time_embed.0", TIME, WIDTH)
    state.layer("time_embed.2", TIME, TIME)
    state.layer("label_emb.0.0", TIME, POOLED)
    state.layer("label_emb.0.2", TIME, TIME)
    state.layer("input_blocks.0.0", WIDTH, channels, 3, 3)
    for number, depth in enumerate(_DEPTHS, start=1):
        state.residual(f"input_blocks.{number}.0", WIDTH)
        if depth:
            _transformer(state, f"input_blocks.{number}.1", depth)
    state.residual("middle_block.0", WIDTH)
    for number in range(len(_DEPTHS) + 1):
        state.residual(f"output_blocks.{number}.0", 2 * WIDTH)
    state.norm("out.0", WIDTH)
    state.layer("out.2", 4, WIDTH, 3, 3)
    return {f"model.diffusion_model.{name}": tensor for name, tensor in state.items()}


def _clip_l(prefix: str, width: int) -> tuple[dict[str, Tensor], Shapes]:
    """What of CLIP-L is not zero, and the shapes of what is."""
    zeros: Shapes = {}
    for number in range(12):
        layer = f"{prefix}encoder.layers.{number}."
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            zeros |= {f"{layer}self_attn.{part}.weight": (width, width), f"{layer}self_attn.{part}.bias": (width,)}
        zeros |= {f"{layer}mlp.fc1.weight": (4 * width, width), f"{layer}mlp.fc1.bias": (4 * width,)}
        zeros |= {f"{layer}mlp.fc2.weight": (width, 4 * width), f"{layer}mlp.fc2.bias": (width,)}
        for norm in ("layer_norm1", "layer_norm2"):
            zeros |= {f"{layer}{norm}.weight": (width,), f"{layer}{norm}.bias": (width,)}
    state = Drawn(3)
    state.layer(f"{prefix}embeddings.token_embedding", VOCABULARY, width, bias=False)
    state.layer(f"{prefix}embeddings.position_embedding", 77, width, bias=False)
    state.norm(f"{prefix}final_layer_norm", width)
    return dict(state), zeros


def _clip_g(prefix: str, width: int) -> tuple[dict[str, Tensor], Shapes]:
    """The same of CLIP-G, in the layout of OpenCLIP."""
    zeros: Shapes = {}
    for number in range(32):
        layer = f"{prefix}transformer.resblocks.{number}."
        zeros |= {f"{layer}attn.in_proj_weight": (3 * width, width), f"{layer}attn.in_proj_bias": (3 * width,)}
        zeros |= {f"{layer}attn.out_proj.weight": (width, width), f"{layer}attn.out_proj.bias": (width,)}
        zeros |= {f"{layer}mlp.c_fc.weight": (4 * width, width), f"{layer}mlp.c_fc.bias": (4 * width,)}
        zeros |= {f"{layer}mlp.c_proj.weight": (width, 4 * width), f"{layer}mlp.c_proj.bias": (width,)}
        for norm in ("ln_1", "ln_2"):
            zeros |= {f"{layer}{norm}.weight": (width,), f"{layer}{norm}.bias": (width,)}
    state = Drawn(4)
    state.layer(f"{prefix}token_embedding", VOCABULARY, width, bias=False)
    state.norm(f"{prefix}ln_final", width)
    state.layer("positional_embedding", 77, width, bias=False)
    state.layer("text_projection", width, width, bias=False)
    for name in ("positional_embedding", "text_projection"):
        state[prefix + name] = state.pop(f"{name}.weight")
    return dict(state), zeros


def _write(file: Path, state: Mapping[str, Tensor], zeros: Shapes) -> None:
    """A safetensors file in half precision; the zeros take no room on disk."""
    header: dict[str, object] = {}
    place = 0
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()} | zeros
    for name, shape in shapes.items():
        end = place + 2 * int(torch.Size(shape).numel())
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as output:
        output.write(len(text).to_bytes(8, "little") + text)
        for tensor in state.values():
            output.write(tensor.half().contiguous().numpy().tobytes())
        output.truncate(8 + len(text) + place)


def write_small_sdxl(file: Path, channels: int = 4, *, edm: bool = False) -> None:
    """A whole checkpoint; `edm` puts in the marks of Playground v2.5."""
    state = small_unet(channels)
    state |= {f"first_stage_model.{name}": tensor for name, tensor in vae.build().items()}
    zeros: Shapes = {}
    for encoder, (prefix, width) in zip((_clip_l, _clip_g), _ENCODERS, strict=True):
        drawn, empty = encoder(prefix, width)
        state |= drawn
        zeros |= empty
    if edm:
        state |= {"edm_mean": torch.zeros(1, 4, 1, 1), "edm_std": torch.ones(1, 4, 1, 1)}
    _write(file, state, zeros)
