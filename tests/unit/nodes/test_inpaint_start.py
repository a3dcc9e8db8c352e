"""Latent noise and latent nothing against A1111's rule."""

import pytest
import torch


class ScaledFormat:
    """A latent format with a scale and a shift, so that forgetting either shows."""

    def process_out(self, latent: torch.Tensor) -> torch.Tensor:
        return latent / 0.18215 + 0.5


class Model:
    def get_model_object(self, name: str) -> ScaledFormat:
        return {"latent_format": ScaledFormat()}[name]


@pytest.fixture
def latent() -> dict[str, torch.Tensor]:
    return {"samples": torch.randn((2, 4, 6, 5), generator=torch.Generator().manual_seed(1))}


@pytest.fixture
def mask() -> torch.Tensor:
    mask = torch.zeros(1, 6, 5)
    mask[:, 2:4, 1:4] = 1
    return mask


def drawn_by_the_sampler(seeds: list[int], shape: tuple[int, ...]) -> torch.Tensor:
    """A1111's rule: a generator for each picture, seeded with the seed counted up."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed % 2**64)) for seed in seeds])


@pytest.mark.parametrize("seed", [0, 123, 2**32 - 2, 2**64 - 1])
def test_latent_noise_is_the_noise_of_the_sampler_in_the_scale_of_the_vae(node, latent, mask, seed):
    (started,) = node("A1111InpaintStart").start(latent, mask, Model(), "latent noise", seed)
    noise = drawn_by_the_sampler([seed, seed + 1], (4, 6, 5)) / 0.18215 + 0.5
    assert torch.equal(started["samples"], torch.where(mask[:, None] == 1, noise, latent["samples"]))


def test_noise_of_the_gpu_is_another(node, latent, mask):
    started = [node("A1111InpaintStart").start(latent, mask, Model(), "latent noise", 7, s)[0] for s in ("cpu", "gpu")]
    assert not torch.equal(started[0]["samples"], started[1]["samples"])


def test_latent_nothing_is_the_zero_of_the_model(node, latent, mask):
    (started,) = node("A1111InpaintStart").start(latent, mask, Model(), "latent nothing", 7)
    assert torch.equal(started["samples"], torch.where(mask[:, None] == 1, torch.tensor(0.5), latent["samples"]))


def test_latent_cut_out_of_a_batch_gets_the_noise_of_its_places(node, latent, mask):
    (started,) = node("A1111InpaintStart").start(latent | {"batch_index": [3, 1]}, mask, Model(), "latent noise", 9)
    third, first = drawn_by_the_sampler([12, 10], (4, 6, 5)) / 0.18215 + 0.5
    inside = mask[0] == 1
    assert torch.equal(started["samples"][0][:, inside], third[:, inside])
    assert torch.equal(started["samples"][1][:, inside], first[:, inside])


def test_each_latent_takes_its_mask(node, latent, mask):
    masks = torch.cat([mask, torch.zeros_like(mask)])
    (started,) = node("A1111InpaintStart").start(latent, masks, Model(), "latent nothing", 0)
    assert not torch.equal(started["samples"][0], latent["samples"][0])
    assert torch.equal(started["samples"][1], latent["samples"][1])


def test_rest_of_the_latent_and_the_global_generator_are_left_alone(node, latent, mask):
    before, state = latent["samples"].clone(), torch.random.get_rng_state()
    noise_mask = torch.ones(1)
    given = latent | {"noise_mask": noise_mask}
    (started,) = node("A1111InpaintStart").start(given, mask, Model(), "latent noise", 0)
    assert started["noise_mask"] is noise_mask
    assert torch.equal(latent["samples"], before)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_mask_of_another_size_is_refused_with_both_sizes(node, latent):
    with pytest.raises(ValueError, match=r"40x48 .* 5x6"):
        node("A1111InpaintStart").start(latent, torch.ones(1, 48, 40), Model(), "latent noise", 0)
