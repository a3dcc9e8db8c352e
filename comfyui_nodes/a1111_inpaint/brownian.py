"""A Brownian path that is drawn where it is asked for, by halving: the noise of the SDE samplers.

The construction and its seeds are those of torchsde's BrownianTree (Kidger et al. 2021, arXiv 2105.13493), which
k-diffusion and so A1111 takes, so the values are the same; torchsde itself has no choice of where the normal values
come from. Knows no sampler.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from numpy.random import SeedSequence
from torch import Tensor

_DIGITS = 6
"""Levels are told apart to so many."""
_POOL = 24
_KEPT = 64


class Path:
    """One path from level `low` to `high`, of any shape; `draw` gives normal values for a seed."""

    def __init__(self, low: float, high: float, seed: int, draw: Callable[[int], Tensor]) -> None:
        self._low, self._high = round(low, _DIGITS), round(high, _DIGITS)
        self._seed, self._draw = seed, draw
        self._drawn: OrderedDict[tuple[int, ...], Tensor] = OrderedDict()
        self._whole = self._noise() * math.sqrt(high - low)

    def increment(self, lower: float, upper: float) -> Tensor:
        """How far the path goes between two levels; what lies beyond its ends is left out."""
        return self._at(upper) - self._at(lower)

    def _at(self, level: float) -> Tensor:
        level = min(max(round(level, _DIGITS), self._low), self._high)
        start, end, place, depth = self._low, self._high, 0, 0
        before, inside = torch.zeros_like(self._whole), self._whole
        while start < level < end:
            middle = round((start + end) / 2, _DIGITS)
            share = (middle - start) / (end - start)
            left = inside * share + self._noise(place, depth) * math.sqrt(share * (end - middle))
            if level < middle:
                end, inside, place = middle, left, 2 * place
            else:
                start, before, inside, place = middle, before + left, inside - left, 2 * place + 1
            depth += 1
        return before + inside if level == end else before

    def _noise(self, *node: int) -> Tensor:
        """The values of a node, by its place in its row and the row's number; without them, of the whole."""
        if node not in self._drawn:
            seeds = SeedSequence(entropy=self._seed, spawn_key=node, pool_size=_POOL).generate_state(1)
            self._drawn[node] = self._draw(int(seeds[0]))
            if len(self._drawn) > _KEPT:
                self._drawn.popitem(last=False)
        self._drawn.move_to_end(node)
        return self._drawn[node]


def paths(
    low: float, high: float, seeds: Sequence[int], draw: Callable[[int], Tensor]
) -> Callable[[float, float], Tensor]:
    """One path for each seed, stacked: the increment between two levels, lower one first."""
    each = [Path(low, high, seed, draw) for seed in seeds]
    return lambda lower, upper: torch.stack([path.increment(lower, upper) for path in each])
