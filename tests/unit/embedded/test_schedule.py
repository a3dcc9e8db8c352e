"""Noise levels and schedulers, against published numbers of Stable Diffusion 1.5 and ComfyUI's behaviour."""

import pytest
import torch

from orchestrator.embedded.schedule import SCHEDULERS, NoiseLevels, noise_levels

LEVELS = NoiseLevels()


def test_the_trained_range_is_stable_diffusions() -> None:
    assert LEVELS.lowest == pytest.approx(0.02917, abs=1e-5)
    assert LEVELS.highest == pytest.approx(14.6146, abs=1e-4)


def test_a_level_maps_to_its_timestep_and_back() -> None:
    places = torch.tensor([0, 1, 500, 999])
    assert LEVELS.timestep(LEVELS.sigmas[places]).tolist() == places.tolist()
    assert float(LEVELS.sigma(torch.tensor(500.0))) == pytest.approx(float(LEVELS.sigmas[500]))


def test_a_level_between_two_goes_to_the_nearer_in_log_distance() -> None:
    between = (LEVELS.sigmas[10].log() * 0.6 + LEVELS.sigmas[11].log() * 0.4).exp()
    assert LEVELS.timestep(between[None]).tolist() == [10]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("steps", [1, 2, 25])
def test_every_schedule_descends_from_the_top_to_zero(scheduler: str, steps: int) -> None:
    sigmas = noise_levels(LEVELS, scheduler, "euler", steps)
    assert sigmas[-1] == 0
    assert bool((sigmas.diff() < 0).all())
    assert len(sigmas) >= steps + 1
    if scheduler != "ddim_uniform":
        assert float(sigmas[0]) == pytest.approx(LEVELS.highest, rel=1e-4)
        assert len(sigmas) == steps + 1


def test_karras_levels_of_a_known_schedule() -> None:
    sigmas = noise_levels(LEVELS, "karras", "dpmpp_2m", 25)
    assert float(sigmas[7]) == pytest.approx(3.910, abs=1e-3)


def test_two_samplers_skip_the_level_before_zero() -> None:
    plain, discarding = (noise_levels(LEVELS, "normal", name, 20) for name in ("euler", "dpm_2"))
    assert len(plain) == len(discarding) == 21
    assert float(discarding[-2]) > float(plain[-2])


@pytest.mark.parametrize(("denoise", "first"), [(0.3, 0.337), (0.75, 4.797)])
def test_a_strength_below_one_takes_the_tail_of_a_longer_schedule(denoise: float, first: float) -> None:
    sigmas = noise_levels(LEVELS, "karras", "dpmpp_2m", 25, denoise)
    assert len(sigmas) == 26
    assert float(sigmas[0]) == pytest.approx(first, abs=1e-3)


def test_no_strength_is_no_step() -> None:
    assert len(noise_levels(LEVELS, "karras", "euler", 10, 0.0)) == 0
