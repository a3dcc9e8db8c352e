"""Samplers that follow the probability-flow equation without adding noise.

Sources: Euler and Heun, Karras et al. 2022 (arXiv 2206.00364), algorithm 2 without churn; DPM-Solver-2, Lu et al.
2022 (arXiv 2206.00927); linear multistep of Adams-Bashforth kind over unequal steps; DPM-Solver++(2M), Lu et al.
2022 (arXiv 2211.01095). Latents are [batch, 4, h, w]; `sigmas` are descending levels, the last usually zero.
Knows nothing of models: a `Denoise` is all they call.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

Denoise: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A latent at a noise level (a scalar) to the model's estimate of the clean latent."""


class Report(Protocol):
    """Told after the first evaluation of each step, counted from zero."""

    def __call__(self, step: int) -> None: ...


_ORDER = 4


def _slope(x: Tensor, sigma: Tensor, clean: Tensor) -> Tensor:
    """dx/dsigma, equation 3 of Karras et al."""
    return (x - clean) / sigma


def euler(denoise: Denoise, x: Tensor, sigmas: Tensor, report: Report) -> Tensor:
    """First order."""
    for step in range(len(sigmas) - 1):
        slope = _slope(x, sigmas[step], denoise(x, sigmas[step]))
        report(step)
        x = x + slope * (sigmas[step + 1] - sigmas[step])
    return x


def heun(denoise: Denoise, x: Tensor, sigmas: Tensor, report: Report) -> Tensor:
    """Second order: the mean of the slopes at both ends; the step to zero is Euler's."""
    for step in range(len(sigmas) - 1):
        here, there = sigmas[step], sigmas[step + 1]
        slope = _slope(x, here, denoise(x, here))
        report(step)
        if there > 0:
            guess = x + slope * (there - here)
            slope = (slope + _slope(guess, there, denoise(guess, there))) / 2
        x = x + slope * (there - here)
    return x


def dpm_2(denoise: Denoise, x: Tensor, sigmas: Tensor, report: Report) -> Tensor:
    """Second order: the slope at the geometric middle of the step."""
    for step in range(len(sigmas) - 1):
        here, there = sigmas[step], sigmas[step + 1]
        slope = _slope(x, here, denoise(x, here))
        report(step)
        if there > 0:
            middle = here.log().lerp(there.log(), 0.5).exp()
            halfway = x + slope * (middle - here)
            slope = _slope(halfway, middle, denoise(halfway, middle))
        x = x + slope * (there - here)
    return x


def _lagrange_integral(nodes: list[float], which: int, start: float, end: float) -> float:
    """The integral over start..end of the polynomial that is one at nodes[which] and zero at the other nodes.

    Expanded around `start`, where the numbers stay small, in double precision: exact for a polynomial.
    """
    coefficients = torch.ones(1, dtype=torch.float64)
    for place, node in enumerate(nodes):
        if place != which:
            span = nodes[which] - node
            shifted = torch.cat([coefficients, coefficients.new_zeros(1)]) * ((start - node) / span)
            shifted[1:] += coefficients / span
            coefficients = shifted
    powers = torch.arange(1, len(coefficients) + 1, dtype=torch.float64)
    return float((coefficients * (end - start) ** powers / powers).sum())


def lms(denoise: Denoise, x: Tensor, sigmas: Tensor, report: Report) -> Tensor:
    """Up to fourth order from the slopes of earlier steps; the step to zero takes the estimate as it is."""
    slopes: list[Tensor] = []
    for step in range(len(sigmas) - 1):
        clean = denoise(x, sigmas[step])
        slopes = [_slope(x, sigmas[step], clean), *slopes[: _ORDER - 1]]
        report(step)
        if sigmas[step + 1] == 0:
            x = clean
            continue
        nodes = [float(sigmas[step - back]) for back in range(len(slopes))]
        ends = float(sigmas[step]), float(sigmas[step + 1])
        for which, slope in enumerate(slopes):
            x = x + slope * _lagrange_integral(nodes, which, *ends)
    return x


def dpmpp_2m(denoise: Denoise, x: Tensor, sigmas: Tensor, report: Report) -> Tensor:
    """DPM-Solver++(2M): exact for the linear part, extrapolating the estimate from the step before."""
    before: Tensor | None = None
    for step in range(len(sigmas) - 1):
        clean = denoise(x, sigmas[step])
        report(step)
        here, there = sigmas[step], sigmas[step + 1]
        if there == 0:
            return clean
        span = here.log() - there.log()
        target = clean
        if before is not None:
            ratio = (sigmas[step - 1].log() - here.log()) / span
            target = clean + (clean - before) / (2 * ratio)
        x = (there / here) * x - torch.expm1(-span) * target
        before = clean
    return x
