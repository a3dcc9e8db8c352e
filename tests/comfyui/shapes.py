"""Checkpoints with random weights, of the smallest shapes in which ComfyUI still sees the family."""

from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from orchestrator.demo_model import text_encoder, vae
from tests.unit.embedded.conftest import TIME, WIDTH, Drawn


def small_unet(channels: int) -> dict[str, Tensor]:
    """SD1.5's layout with one level; `channels` is 4, or 9 for an inpainting model."""
    state = Drawn()
    state.layer("time_embed.0", TIME, WIDTH)
    state.layer("time_embed.2", TIME, TIME)
    state.layer("input_blocks.0.0", WIDTH, channels, 3, 3)
    state.residual("input_blocks.1.0", WIDTH)
    state.transformer("input_blocks.1.1")
    state.residual("middle_block.0", WIDTH)
    state.transformer("middle_block.1")
    state.residual("middle_block.2", WIDTH)
    for place in (0, 1):
        state.residual(f"output_blocks.{place}.0", 2 * WIDTH)
        state.transformer(f"output_blocks.{place}.1")
    state.norm("out.0", WIDTH)
    state.layer("out.2", 4, WIDTH, 3, 3)
    return dict(state)


def write_small(file: Path, channels: int = 4) -> None:
    """A whole SD1.5 checkpoint with that UNet, the demo model's first stage and text encoder."""
    state = {f"model.diffusion_model.{name}": tensor.half() for name, tensor in small_unet(channels).items()}
    state |= {f"first_stage_model.{name}": tensor for name, tensor in vae.build().items()}
    state |= {name: tensor.half() for name, tensor in text_encoder.build().items()}
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)
