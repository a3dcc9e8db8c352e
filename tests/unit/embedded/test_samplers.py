"""The solvers, on a world where the right answer is known: one whose clean latents are Gaussian around a mean."""

import pytest
import torch
from torch import Tensor

from orchestrator.embedded import samplers_ode as ode
from orchestrator.embedded import samplers_sde as sde
from orchestrator.embedded.schedule import NoiseLevels, noise_levels

MEAN, SPREAD = 0.7, 0.4
LEVELS = NoiseLevels()
ODE = {"euler": ode.euler, "heun": ode.heun, "dpm_2": ode.dpm_2, "lms": ode.lms, "dpmpp_2m": ode.dpmpp_2m}
ANCESTRAL = [sde.euler_ancestral, sde.dpm_2_ancestral, sde.dpmpp_2s_ancestral]
BROWNIAN = [sde.dpmpp_sde, sde.dpmpp_2m_sde, sde.dpmpp_2m_sde_heun, sde.dpmpp_3m_sde]


def ideal(x: Tensor, sigma: Tensor) -> Tensor:
    """The best estimate of the clean latent there is, for clean latents of this mean and spread."""
    return MEAN + (x - MEAN) * SPREAD**2 / (SPREAD**2 + sigma**2)


def exact(x: Tensor, sigma: Tensor) -> Tensor:
    """Where the probability-flow equation ends from x."""
    return MEAN + (x - MEAN) * SPREAD / (SPREAD**2 + sigma**2).sqrt()


def noised(count: int = 64) -> Tensor:
    draw = torch.Generator().manual_seed(3)
    clean = MEAN + SPREAD * torch.randn(1, 4, 8, count, generator=draw)
    return clean + float(LEVELS.highest) * torch.randn(clean.shape, generator=draw)


def silent(step: int) -> None:
    pass


def error(name: str, steps: int) -> float:
    sigmas = noise_levels(LEVELS, "karras", name, steps)
    x = noised()
    return float((ODE[name](ideal, x, sigmas, silent) - exact(x, sigmas[0])).abs().max())


@pytest.mark.parametrize("name", ODE)
def test_a_solver_follows_the_equation_the_closer_the_more_steps(name: str) -> None:
    assert error(name, 40) < 0.1
    assert error(name, 40) < 0.5 * error(name, 10)


@pytest.mark.parametrize("name", ["heun", "dpm_2", "lms", "dpmpp_2m"])
def test_solvers_of_higher_order_beat_eulers(name: str) -> None:
    assert error(name, 20) < 0.5 * error("euler", 20)


@pytest.mark.parametrize("solver", ANCESTRAL)
def test_an_ancestral_sampler_ends_in_the_right_spread(solver: sde.Callable[..., Tensor]) -> None:
    sigmas = noise_levels(LEVELS, "karras", "euler", 60)
    x = noised(512)
    result = solver(ideal, x, sigmas, silent, sde.fresh_noise(x, 11))
    assert float(result.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(result.std()) == pytest.approx(SPREAD, rel=0.08)


@pytest.mark.parametrize("solver", BROWNIAN)
def test_an_sde_sampler_ends_in_the_right_spread_and_repeats_itself(solver: sde.Callable[..., Tensor]) -> None:
    sigmas = noise_levels(LEVELS, "karras", "euler", 40)
    x = noised(256)
    results = [solver(ideal, x, sigmas, silent, sde.brownian_noise(x, 11, sigmas)) for _ in range(2)]
    assert float(results[0].mean()) == pytest.approx(MEAN, abs=0.03)
    assert float(results[0].std()) == pytest.approx(SPREAD, rel=0.08)
    assert torch.equal(*results)


def test_brownian_noise_is_of_unit_variance() -> None:
    x = torch.zeros(1, 4, 32, 32)
    sigmas = noise_levels(LEVELS, "karras", "euler", 5)
    noise = sde.brownian_noise(x, 5, sigmas)
    assert float(noise(sigmas[1], sigmas[2]).std()) == pytest.approx(1.0, abs=0.05)
    assert not torch.allclose(noise(sigmas[1], sigmas[2]), noise(sigmas[2], sigmas[3]))


def test_the_first_ancestral_noise_is_the_seeds_first_draw() -> None:
    """ComfyUI draws the initial noise from the same seed: on a CPU both are the same tensor."""
    x = torch.zeros(1, 4, 2, 2)
    expected = torch.randn(x.shape, generator=torch.Generator().manual_seed(9))
    assert torch.equal(sde.fresh_noise(x, 9)(torch.tensor(2.0), torch.tensor(1.0)), expected)


@pytest.mark.parametrize("solver", [*ODE.values()])
def test_each_step_is_reported_once(solver: sde.Callable[..., Tensor]) -> None:
    steps: list[int] = []
    solver(ideal, noised(1), noise_levels(LEVELS, "normal", "euler", 6), steps.append)
    assert steps == list(range(6))
