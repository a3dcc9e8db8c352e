"""A checkpoint of the smallest shape that is still Stable Diffusion 1.5's, with random weights."""

import functools
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from orchestrator.demo_model import text_encoder, vae

WIDTH, TIME, CONTEXT, INNER = 320, 1280, 768, 1280


class Drawn(dict[str, Tensor]):
    """A state dict filled with small random weights, layer by layer."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self._draw = torch.Generator().manual_seed(seed)

    def layer(self, name: str, out: int, into: int, *kernel: int, bias: bool = True) -> None:
        size = into * (kernel[0] * kernel[1] if kernel else 1)
        self[f"{name}.weight"] = torch.randn(out, into, *kernel, generator=self._draw) / size**0.5
        if bias:
            self[f"{name}.bias"] = torch.randn(out, generator=self._draw) * 0.1

    def norm(self, name: str, width: int) -> None:
        self[f"{name}.weight"] = 1 + torch.randn(width, generator=self._draw) * 0.1
        self[f"{name}.bias"] = torch.randn(width, generator=self._draw) * 0.1

    def residual(self, name: str, into: int) -> None:
        self.norm(f"{name}.in_layers.0", into)
        self.layer(f"{name}.in_layers.2", WIDTH, into, 3, 3)
        self.layer(f"{name}.emb_layers.1", WIDTH, TIME)
        self.norm(f"{name}.out_layers.0", WIDTH)
        self.layer(f"{name}.out_layers.3", WIDTH, WIDTH, 3, 3)
        if into != WIDTH:
            self.layer(f"{name}.skip_connection", WIDTH, into, 1, 1)

    def transformer(self, name: str) -> None:
        self.norm(f"{name}.norm", WIDTH)
        self.layer(f"{name}.proj_in", WIDTH, WIDTH, 1, 1)
        block = f"{name}.transformer_blocks.0"
        for attention, into in (("attn1", WIDTH), ("attn2", CONTEXT)):
            self.layer(f"{block}.{attention}.to_q", WIDTH, WIDTH, bias=False)
            self.layer(f"{block}.{attention}.to_k", WIDTH, into, bias=False)
            self.layer(f"{block}.{attention}.to_v", WIDTH, into, bias=False)
            self.layer(f"{block}.{attention}.to_out.0", WIDTH, WIDTH)
        for norm in ("norm1", "norm2", "norm3"):
            self.norm(f"{block}.{norm}", WIDTH)
        self.layer(f"{block}.ff.net.0.proj", 2 * INNER, WIDTH)
        self.layer(f"{block}.ff.net.2", WIDTH, INNER)
        self.layer(f"{name}.proj_out", WIDTH, WIDTH, 1, 1)


@functools.cache
def one_level_unet() -> dict[str, Tensor]:
    """An LDM-named UNet of one level with one residual block, and a transformer in the middle."""
    state = Drawn()
    state.layer("time_embed.0", TIME, WIDTH)
    state.layer("time_embed.2", TIME, TIME)
    state.layer("input_blocks.0.0", WIDTH, 4, 3, 3)
    state.residual("input_blocks.1.0", WIDTH)
    state.residual("middle_block.0", WIDTH)
    state.transformer("middle_block.1")
    state.residual("middle_block.2", WIDTH)
    state.residual("output_blocks.0.0", 2 * WIDTH)
    state.residual("output_blocks.1.0", 2 * WIDTH)
    state.norm("out.0", WIDTH)
    state.layer("out.2", 4, WIDTH, 3, 3)
    return dict(state)


@functools.cache
def one_layer_text_encoder() -> dict[str, Tensor]:
    """The demo model's text encoder with its last layer alone, named as below `text_model.`."""
    layers = f"encoder.layers.{text_encoder.LAYERS - 1}."
    state = {name.removeprefix(text_encoder.PREFIX): tensor for name, tensor in text_encoder.build().items()}
    return {
        name.replace(layers, "encoder.layers.0."): tensor
        for name, tensor in state.items()
        if not name.startswith("encoder.layers.") or name.startswith(layers)
    }


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with `checkpoints/tiny.safetensors`, and a LoRA `loras/middle.safetensors` that fits it."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "checkpoints").mkdir()
    (folder / "loras").mkdir()
    state = {f"model.diffusion_model.{name}": tensor.half() for name, tensor in one_level_unet().items()}
    state |= {f"first_stage_model.{name}": tensor for name, tensor in vae.build().items()}
    state |= {text_encoder.PREFIX + name: tensor.half() for name, tensor in one_layer_text_encoder().items()}
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "checkpoints/tiny.safetensors")
    draw = torch.Generator().manual_seed(1)
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    lora = {
        f"{name}.lora_up.weight": torch.randn(WIDTH, 4, generator=draw),
        f"{name}.lora_down.weight": torch.randn(4, CONTEXT, generator=draw),
        f"{name}.alpha": torch.tensor(4.0),
    }
    save_file(lora, folder / "loras/middle.safetensors")
    return folder
