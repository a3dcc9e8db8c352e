"""Autoencoders, against the demo model's TAESD, whose latents are known in closed form."""

import pytest
import torch

from orchestrator.demo_model import vae as demo
from orchestrator.embedded.unsupported import UnsupportedModel
from orchestrator.embedded.vae import Vae, build


@pytest.fixture(scope="module")
def tiny() -> Vae:
    return build(demo.build())


@torch.no_grad()
def test_a_tile_of_one_colour_becomes_that_colours_latent_and_comes_back(tiny: Vae) -> None:
    colours = torch.rand(1, 3, 2, 3)
    picture = colours.repeat_interleave(8, 2).repeat_interleave(8, 3).movedim(1, -1)
    latent = tiny.encode(picture)
    assert torch.allclose(latent * demo.VAE_SCALE, demo.to_latent(colours), atol=1e-3)
    assert torch.allclose(tiny.decode(latent), picture, atol=1e-2)


@torch.no_grad()
def test_a_picture_of_another_size_loses_its_rim_on_both_sides(tiny: Vae) -> None:
    inner = torch.rand(1, 2, 2, 3).repeat_interleave(8, 1).repeat_interleave(8, 2)
    picture = torch.zeros(1, 21, 22, 3)
    picture[:, 2:18, 3:19] = inner
    assert torch.allclose(tiny.encode(picture), tiny.encode(inner), atol=1e-4)


@torch.no_grad()
def test_what_is_decoded_stays_in_range(tiny: Vae) -> None:
    pictures = tiny.decode(torch.randn(2, 4, 2, 2) * 50)
    assert pictures.shape == (2, 16, 16, 3)
    assert 0 <= float(pictures.min()) <= float(pictures.max()) <= 1


@pytest.mark.parametrize("state", [{}, {"quant_conv.weight": torch.zeros(8, 8, 1, 1)}])
def test_a_file_without_an_autoencoder_is_refused(state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(UnsupportedModel, match="no autoencoder"):
        build(state)


def test_a_broken_one_is_refused() -> None:
    state = demo.build()
    del state["taesd_encoder.14.weight"]
    with pytest.raises(UnsupportedModel, match="first stage"):
        build(state)
