"""DPM-Solver with ancestral noise, by WebUI's names DPM fast and DPM adaptive. Knows no model.

Sources: Lu et al. 2022 (arXiv 2206.00927), algorithms 1 and 2 in t = -log sigma; the ancestral noise after each step
(Karras et al. 2022's sigmas, Song et al. 2021) as k-diffusion adds it, with eta 1 as A1111 v1.10.1 runs both
(`modules/sd_samplers_common.py` 293-307). Both end at the last level but one, as there, even
where the last (KL Optimal's) is above zero.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .noise import StepNoise
from .solvers import Denoise, Report

_RELATIVE, _ABSOLUTE, _FIRST, _SAFETY, _ORDER_WITH_NOISE = 0.05, 0.0078, 0.05, 0.81, 1.5
_END = 1e-5
_MOST_STEPS = 1000


def _sigma(t: float) -> float:
    return math.exp(-t)


@dataclass
class _Walk:
    """One position: evaluates the noise once for each point that the orders share."""

    denoise: Denoise
    x: Tensor
    t: float

    def __post_init__(self) -> None:
        self.here = self.noise(self.x, self.t)

    def noise(self, x: Tensor, t: float) -> Tensor:
        sigma = x.new_tensor(_sigma(t))
        return (x - self.denoise(x, sigma)) / sigma

    def first(self, end: float) -> Tensor:
        return self.x - _sigma(end) * math.expm1(end - self.t) * self.here

    def inner(self, end: float, share: float) -> Tensor:
        """The noise at a share of the way."""
        return self.noise(self.first(self.t + share * (end - self.t)), self.t + share * (end - self.t))

    def second(self, end: float, share: float, inner: Tensor) -> Tensor:
        step = math.expm1(end - self.t)
        return self.first(end) - _sigma(end) / (2 * share) * step * (inner - self.here)

    def third(self, end: float, inner: Tensor) -> Tensor:
        """With inner points at one and two thirds of the way."""
        h, near, far = end - self.t, 1 / 3, 2 / 3
        s = self.t + far * h
        bend = _sigma(s) * (far / near) * (math.expm1(far * h) / (far * h) - 1)
        there = self.noise(self.first(s) - bend * (inner - self.here), s)
        return self.first(end) - _sigma(end) / far * (math.expm1(h) / h - 1) * (there - self.here)


def _down(t: float, t_next: float, t_end: float) -> tuple[float, float]:
    """Where an ancestral step goes down to, and how much noise then leads up to `t_next`."""
    here, there = _sigma(t), _sigma(t_next)
    up = min(there, math.sqrt(max(there**2 * (here**2 - there**2) / here**2, 0)))
    down = math.sqrt(there**2 - up**2)
    t_down = min(t_end, -math.log(down)) if down > 0 else t_end
    return t_down, math.sqrt(max(there**2 - _sigma(t_down) ** 2, 0))


def _ends(sigmas: Tensor) -> tuple[float, float]:
    return -math.log(float(sigmas[0])), -math.log(float(sigmas[-2]))


def _noise_between(x: Tensor, noise: StepNoise, t: float, t_next: float) -> Tensor:
    return noise(x.new_tensor(_sigma(t)), x.new_tensor(_sigma(t_next)))


def dpm_fast(denoise: Denoise, x: Tensor, sigmas: Tensor, report: Report, noise: StepNoise) -> Tensor:
    """As many calls of the model as `sigmas` has steps, in steps of third order and a rest."""
    calls = len(sigmas) - 1
    count = calls // 3 + 1
    orders = [3] * (count - 2) + [2, 1] if calls % 3 == 0 else [3] * (count - 1) + [calls % 3]
    start, end = _ends(sigmas)
    times = [start + (end - start) * turn / count for turn in range(count + 1)]
    for turn, order in enumerate(orders):
        t, t_next = times[turn], times[turn + 1]
        if t_next - t <= 0:
            break
        down, up = _down(t, t_next, end)
        walk = _Walk(denoise, x, t)
        report(turn)
        if order == 1:
            x = walk.first(down)
        elif order == 2:
            x = walk.second(down, 0.5, walk.inner(down, 0.5))
        else:
            x = walk.third(down, walk.inner(down, 1 / 3))
        x = x + up * _noise_between(x, noise, t, t_next)
    return x


def dpm_adaptive(denoise: Denoise, x: Tensor, sigmas: Tensor, report: Report, noise: StepNoise) -> Tensor:
    """Steps of third order as long as the second order agrees; of `sigmas` the ends alone count."""
    t, end = _ends(sigmas)
    before, length, steps = x, _FIRST, len(sigmas) - 1
    for turn in range(_MOST_STEPS):
        if t >= end - _END:
            break
        t_next = min(end, t + length)
        down, up = _down(t, t_next, end)
        walk = _Walk(denoise, x, t)
        report(min(turn, steps - 1))
        inner = walk.inner(down, 1 / 3)
        low, high = walk.second(down, 1 / 3, inner), walk.third(down, inner)
        allowed = torch.maximum(low.abs(), before.abs()).mul(_RELATIVE).clamp(min=_ABSOLUTE)
        error = float(((low - high) / allowed).norm() / x.numel() ** 0.5)
        factor = 1 + math.atan((1 / (error + 1e-8)) ** (1 / _ORDER_WITH_NOISE) - 1)
        if factor >= _SAFETY:
            before = low
            x, t = high + up * _noise_between(x, noise, t, t_next), t_next
        length *= factor
    return x
