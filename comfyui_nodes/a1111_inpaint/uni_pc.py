"""UniPC, a multistep predictor and corrector that share their calls of the model. Knows no model.

Source: Zhao et al. 2023 (arXiv 2302.04867), UniPC with data prediction and B(h) = h, of order 3, as A1111 v1.10.1 sets
it by default (`modules/shared_options.py` 402-405): of lower orders at both ends, and without the corrector in the last
step. The latent is clean + sigma noise, so the paper's alpha is 1 and its lambda -log sigma.
"""

import math

import torch
from torch import Tensor

from .noise import StepNoise
from .solvers import Denoise, Report

_ORDER = 3


def _weights(ratios: list[float], h: float) -> list[float]:
    """The paper's rho: what the slopes towards points at these ratios of a step of length h weigh, by h.

    They make the step exact for slopes that are polynomials in r, the share of the step; those are weighed with the
    moments of exp(-h (1 - r)). A lone point weighs one half, as the paper has it.
    """
    if len(ratios) < 2:
        return [0.5] * len(ratios)
    moment, moments = -math.expm1(-h) / h, []
    for power in range(1, len(ratios) + 1):
        moment = (1 - power * moment) / h
        moments.append(moment)
    nodes = torch.tensor(ratios, dtype=torch.float64)
    rows = torch.stack([nodes**power for power in range(len(ratios))])
    weights: list[float] = torch.linalg.solve(rows, torch.tensor(moments, dtype=torch.float64)).tolist()
    return weights


def _bent(straight: Tensor, h: float, ratios: list[float], slopes: list[Tensor]) -> Tensor:
    """The end of a step by the last estimate alone, bent by the slopes towards others."""
    return sum((h * weight * slope for weight, slope in zip(_weights(ratios, h), slopes, strict=True)), straight)


def uni_pc(denoise: Denoise, x: Tensor, sigmas: Tensor, report: Report, noise: StepNoise) -> Tensor:
    """Ends at the last level, which is above zero; as many calls of the model as steps."""
    times = [-math.log(float(sigma)) for sigma in sigmas]
    steps = len(times) - 1
    known = [denoise(x, sigmas[0])]  # estimates, newest first
    report(0)
    for step in range(1, steps + 1):
        order = min(_ORDER, step, steps + 1 - step)
        here, h = times[step - 1], times[step] - times[step - 1]
        straight = math.exp(-h) * x - math.expm1(-h) * known[0]
        ratios = [(times[step - 1 - back] - here) / h for back in range(1, order)]
        slopes = [(known[back] - known[0]) / ratio for back, ratio in enumerate(ratios, 1)]
        x = _bent(straight, h, ratios, slopes)
        if step < steps:
            clean = denoise(x, sigmas[step])
            report(step)
            x = _bent(straight, h, [*ratios, 1.0], [*slopes, clean - known[0]])
            known = [clean, *known[: _ORDER - 1]]
    return x
