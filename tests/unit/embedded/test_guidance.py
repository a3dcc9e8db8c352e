"""One denoising call of the embedded backend: what an inpainting run shows to the model and keeps of its estimate."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from orchestrator.embedded.guidance import Guidance, Inpaint, Prompted
from orchestrator.embedded.schedule import NoiseLevels

SHAPE = (2, 4, 3, 5)


class Listening:
    """A UNet whose noise is a fixed one plus the mean of the text; remembers what it was shown."""

    config = SimpleNamespace(in_channels=4)

    def __init__(self, noise: Tensor) -> None:
        self.noise = noise
        self.seen: list[Tensor] = []

    def __call__(
        self, sample: Tensor, times: Tensor, encoder_hidden_states: Tensor, return_dict: bool
    ) -> tuple[Tensor]:
        self.seen.append(sample)
        repeats = len(sample) // len(self.noise)
        return (self.noise.repeat(repeats, 1, 1, 1) + encoder_hidden_states.mean((1, 2)).reshape(-1, 1, 1, 1),)


@pytest.fixture
def drawn() -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(1)
    values = {name: torch.randn(SHAPE, generator=source) for name in ("x", "latent", "noise", "estimate")}
    mask = torch.zeros(SHAPE)
    mask[..., 1:] = 1
    mask[..., 2] = 0.25
    return values | {"mask": mask}


def test_outside_the_mask_the_model_sees_the_latent_with_noise_of_the_call_s_level(drawn: dict[str, Tensor]) -> None:
    inpaint = Inpaint(drawn["mask"], drawn["latent"], drawn["noise"])
    shown = inpaint.before(drawn["x"], torch.tensor(2.5)).numpy()
    x, latent, noise, mask = (drawn[name].numpy() for name in ("x", "latent", "noise", "mask"))
    assert np.allclose(shown[..., 0], (latent + 2.5 * noise)[..., 0])
    assert np.allclose(shown[..., 3:], x[..., 3:])
    assert np.allclose(shown, np.where(mask == 0.25, 0.25 * x + 0.75 * (latent + 2.5 * noise), shown))


def test_outside_the_mask_the_estimate_is_the_latent_to_the_bit(drawn: dict[str, Tensor]) -> None:
    inpaint = Inpaint(drawn["mask"], drawn["latent"], drawn["noise"])
    kept = inpaint.after(drawn["estimate"])
    assert torch.equal(kept[..., 0], drawn["latent"][..., 0])
    assert torch.equal(kept[..., 3:], drawn["estimate"][..., 3:])
    assert torch.allclose(kept[..., 2], 0.25 * drawn["estimate"][..., 2] + 0.75 * drawn["latent"][..., 2])


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_a_guided_call_blends_before_and_after_the_model(drawn: dict[str, Tensor], scale: float) -> None:
    unet, sigma = Listening(drawn["noise"] * 0.1), torch.tensor(3.0)
    guidance = Guidance(unet, NoiseLevels(), lambda: None)
    positive, negative = torch.full((1, 77, 8), 0.5), torch.full((1, 77, 8), -0.25)
    inpaint = Inpaint(drawn["mask"], drawn["latent"], drawn["noise"])
    clean = Prompted(guidance, positive, negative, scale, inpaint)(drawn["x"], sigma)
    shown = inpaint.before(drawn["x"], sigma)
    assert torch.allclose(unet.seen[0][:2], shown / np.sqrt(10.0), atol=1e-6), "scaled for the level"
    noise = drawn["noise"] * 0.1 + (0.5 if scale == 1 else -0.25 + scale * 0.75)
    expected = (shown - 3.0 * noise) * drawn["mask"] + drawn["latent"] * (1 - drawn["mask"])
    assert torch.allclose(clean, expected, atol=1e-5)
    assert torch.equal(clean[..., 0], drawn["latent"][..., 0])


def test_without_a_mask_nothing_is_blended(drawn: dict[str, Tensor]) -> None:
    unet = Listening(drawn["noise"])
    guidance = Guidance(unet, NoiseLevels(), lambda: None)
    text = torch.zeros(1, 77, 8)
    clean = Prompted(guidance, text, text, 1.0, None)(drawn["x"], torch.tensor(2.0))
    assert torch.allclose(clean, drawn["x"] - 2 * drawn["noise"], atol=1e-5)


def test_many_texts_are_evaluated_a_few_at_a_time_each_with_its_own_noise(drawn: dict[str, Tensor]) -> None:
    unet = Listening(drawn["noise"])
    lengths = [77, 77, 77, 154, 77, 77, 77]
    texts = [torch.full((1, length, 8), float(turn)) for turn, length in enumerate(lengths)]
    noises = Guidance(unet, NoiseLevels(), lambda: None).noises(drawn["x"], torch.tensor(3.0), texts)
    assert all(torch.allclose(noise, drawn["noise"] + turn) for turn, noise in enumerate(noises))
    assert len(noises) == len(texts)
    assert max(len(shown) for shown in unet.seen) == 2 * len(drawn["x"])


def test_before_each_evaluation_it_is_asked_whether_to_go_on(drawn: dict[str, Tensor]) -> None:
    unet, asked = Listening(drawn["noise"]), list[int]()
    guidance = Guidance(unet, NoiseLevels(), lambda: asked.append(len(unet.seen)))
    guidance.noises(drawn["x"], torch.tensor(3.0), [torch.zeros(1, 77, 8)] * 5)
    assert asked == [0, 1, 2]
