"""Where noise comes from: one stream for each picture, drawn as Stable Diffusion WebUI draws it.

Rules: A1111 v1.10.1, `modules/rng.py` (picture i has the generator of seed + i, and later draws go on where the first
ended) and `modules/rng_philox.py`. "gpu" is what a CUDA card draws: Philox4x32-10 (Salmon et al. 2011, Random123) and
the sine branch of Box and Muller, one value for each counter. Knows no sampler.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from .brownian import paths

SOURCES = ["cpu", "gpu"]
_SEEDS = 2**64
_WORD = 0xFFFFFFFF
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
_UNIT = 2.0**-32

StepNoise: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Unit noise for the step from one noise level to the next."""


class Stream(Protocol):
    """One picture's generator."""

    def draw(self, shape: Sequence[int]) -> Tensor:
        """The next standard normal values, float32 on the CPU."""
        ...


class CpuStream:
    """torch's CPU generator."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator(device="cpu").manual_seed(seed)

    def draw(self, shape: Sequence[int]) -> Tensor:
        return torch.randn(tuple(shape), generator=self._generator, device="cpu")


def philox(counter: Sequence[Tensor | int], key: tuple[int, int]) -> list[Tensor]:
    """Philox4x32-10: four words of a counter (int64 tensors or numbers below 2**32) to four random words."""
    words = list(torch.broadcast_tensors(*(torch.as_tensor(word, dtype=torch.int64) for word in counter)))
    low, high = key
    for _ in range(_ROUNDS):
        first, second = words[0] * _MULTIPLIERS[0], words[2] * _MULTIPLIERS[1]  # modulo 2**64, whatever the sign
        words = [
            ((second >> 32) & _WORD) ^ words[1] ^ low,
            second & _WORD,
            ((first >> 32) & _WORD) ^ words[3] ^ high,
            first & _WORD,
        ]
        low, high = (low + _WEYL[0]) & _WORD, (high + _WEYL[1]) & _WORD
    return words


class GpuStream:
    """What torch draws on a CUDA card whose threads make one value each (so for SD1.5's and SDXL's usual sizes)."""

    def __init__(self, seed: int) -> None:
        self._key = seed & _WORD, seed >> 32
        self._offset = 0

    def draw(self, shape: Sequence[int]) -> Tensor:
        words = philox((self._offset, 0, torch.arange(math.prod(shape)), 0), self._key)
        self._offset += 1
        radius, angle = (word.to(torch.float32) * _UNIT + _UNIT / 2 for word in words[:2])
        return ((-2 * radius.log()).sqrt() * (angle * (2 * math.pi)).sin()).reshape(tuple(shape))


def stream(source: str, seed: int) -> Stream:
    """A new generator; `source` is one of SOURCES, `seed` any whole number (taken modulo 2**64)."""
    return GpuStream(seed % _SEEDS) if source == "gpu" else CpuStream(seed % _SEEDS)


def seeds_of(latent: dict[str, Any], seed: int) -> tuple[int, ...]:
    """Each picture's seed: the batch counts up; a latent cut out of a batch names its places in `batch_index`."""
    places = latent.get("batch_index") or range(len(latent["samples"]))
    return tuple((seed + place) % _SEEDS for place in places)


class Streams:
    """The generators of a batch."""

    def __init__(self, source: str, seeds: Sequence[int]) -> None:
        self._streams = [stream(source, seed) for seed in seeds]

    def draw(self, like: Tensor) -> Tensor:
        """Noise of the shape of `like` [batch, channels, h, w], on its device."""
        return torch.stack([one.draw(like.shape[1:]) for one in self._streams]).to(like)

    def step_noise(self, like: Tensor) -> StepNoise:
        """Fresh noise for each step, going on in the same streams."""
        return lambda here, there: self.draw(like)


def brownian_noise(like: Tensor, source: str, seeds: Sequence[int], low: float, high: float) -> StepNoise:
    """Increments of one Brownian path for each picture between two noise levels, scaled to unit variance.

    The path spans the whole schedule, as in A1111, also when a run walks its end alone.
    """
    between = paths(low, high, seeds, lambda seed: stream(source, seed).draw(like.shape[1:]))

    def noise(here: Tensor, there: Tensor) -> Tensor:
        first, second = float(here), float(there)
        path = between(min(first, second), max(first, second)) / math.sqrt(abs(second - first))
        return (path if first < second else -path).to(like)

    return noise
