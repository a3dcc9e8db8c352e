"""One denoising call as Stable Diffusion WebUI makes it: whose turn it is, guidance between prompts, the blend.

Rules: A1111 v1.10.1, `modules/sd_samplers_cfg_denoiser.py` 74-82 (guidance with `AND`), 174-183 and 292-293 (the latent
outside the mask is put back after guidance, and nothing is done to what the model sees), `prompt_parser.py` 280-349
(turns are counted in calls of the model). Pure arithmetic over a `Session`; knows no backend.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from torch import Tensor

from .prompt import TURN, Turn

Conditioning: TypeAlias = list[list[Any]]
Estimate: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A latent and its noise level to the guided estimate of the clean latent."""
Reading: TypeAlias = Callable[[Estimate, Tensor, Tensor], Tensor]
"""How an estimate is asked for and read, where a solver wants it otherwise."""


class Session(Protocol):
    """A model that is loaded and ready, for the time of one run."""

    latent: Tensor
    """What stays outside the mask, in the model's scale."""

    def predict(self, x: Tensor, sigma: Tensor, which: Sequence[int]) -> list[Tensor]:
        """Estimates of the clean latent for the run's conditionings of these numbers."""
        ...

    def guided(self, x: Tensor, sigma: Tensor, negative: int, positive: int, scale: float) -> Tensor:
        """Classifier-free guidance between two conditionings, as the backend does it."""
        ...


@dataclass(frozen=True)
class Part:
    """One part of a prompt between `AND`s: numbers of conditionings, and when each is in use (None: always)."""

    weight: float
    turns: tuple[tuple[int, Turn | None], ...]

    def at(self, call: int, order: int) -> int:
        """The conditioning in use; the first, where the schedule has run out, as in A1111."""
        fitting = (number for number, turn in self.turns if turn is None or turn.at(call, order))
        return next(fitting, self.turns[0][0])


def parts_of(conditioning: Conditioning, known: list[Conditioning]) -> tuple[Part, ...]:
    """The parts of a prompt; their conditionings are added to `known`, and numbered by their place there.

    Entries from other nodes than A1111 Prompt are one part together, which the backend combines in its own way.
    """
    weights: dict[int | None, float] = {}
    turns: dict[int | None, list[tuple[int, Turn | None]]] = {}
    others = [entry for entry in conditioning if TURN not in entry[1]]
    if others:
        known.append(others)
        weights[None], turns[None] = 1.0, [(len(known) - 1, None)]
    for states, extras in conditioning:
        turn: Turn | None = extras.get(TURN)
        if turn is not None:
            known.append([[states, {key: value for key, value in extras.items() if key != TURN}]])
            weights[turn.part] = turn.weight
            turns.setdefault(turn.part, []).append((len(known) - 1, turn))
    return tuple(Part(weights[key], tuple(turns[key])) for key in turns)


class Guide:
    """Called for each evaluation of one run; counts them. `mask` is 1 where the latent may change, None everywhere.

    `reading` makes something else of the guided estimate (LCM), before the blend.
    """

    def __init__(
        self,
        positive: Sequence[Part],
        negative: Sequence[Part],
        scale: float,
        mask: Tensor | None,
        order: int,
        reading: Reading | None = None,
    ) -> None:
        self._positive, self._negative = positive, negative
        self._scale, self._mask, self._order = scale, mask, order
        self._reading = reading
        self._calls = 0

    def __call__(self, session: Session, x: Tensor, sigma: Tensor) -> Tensor:
        """The guided estimate of the clean latent, with the kept latent outside the mask."""

        def ask(x: Tensor, sigma: Tensor) -> Tensor:
            return self._guided(session, x, sigma)

        clean = ask(x, sigma) if self._reading is None else self._reading(ask, x, sigma)
        return clean if self._mask is None else blend(clean, session.latent, self._mask)

    def _guided(self, session: Session, x: Tensor, sigma: Tensor) -> Tensor:
        call, self._calls = self._calls, self._calls + 1
        negative = self._negative[0].at(call, self._order)
        positives = [(part.weight, part.at(call, self._order)) for part in self._positive]
        if len(positives) == 1:
            weight, positive = positives[0]
            return session.guided(x, sigma, negative, positive, self._scale * weight)
        plain, *wanted = session.predict(x, sigma, [negative, *(number for _, number in positives)])
        clean = plain
        for (weight, _), one in zip(positives, wanted, strict=True):
            clean = clean + (one - plain) * (weight * self._scale)
        return clean


def blend(inside: Tensor, outside: Tensor, mask: Tensor) -> Tensor:
    """`inside` where the mask is 1, `outside` where it is 0."""
    mask = mask.to(inside)
    return inside * mask + outside.to(inside) * (1 - mask)
