"""What a node pack may ask of this backend's models in place of ComfyUI's insides: bounds, schedules, a sampling run.

The pack `a1111_inpaint` brings its own rules and asks a MODEL for `sampling_host()`; `Run` and `Session` here are the
shapes that its `host` and `guidance` state. Knows none of those rules.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from orchestrator.embedded.guidance import Guidance, surroundings
from orchestrator.embedded.monitor import Monitor
from orchestrator.embedded.samplers_sde import NoiseSource
from orchestrator.embedded.schedule import SCHEDULERS
from orchestrator.embedded.solving import solve

if TYPE_CHECKING:
    from orchestrator.embedded.checkpoint import Model


class Run(Protocol):
    """A pack's order: see `comfyui_nodes/a1111_inpaint/host.py`."""

    @property
    def solver(self) -> Any: ...
    @property
    def sigmas(self) -> Tensor: ...
    @property
    def latent(self) -> Tensor: ...
    @property
    def noise(self) -> Tensor: ...
    @property
    def conditionings(self) -> Sequence[list[list[Any]]]: ...
    @property
    def guide(self) -> Callable[..., Tensor]: ...
    @property
    def step_noise(self) -> NoiseSource: ...


class _Session:
    """A loaded model and the run's conditionings; of several entries in one the first counts, as in the KSamplers."""

    def __init__(self, guidance: Guidance, run: Run, latent: Tensor) -> None:
        self._guidance, self._texts = guidance, [conditioning[0][0] for conditioning in run.conditionings]
        self.latent = latent

    def predict(self, x: Tensor, sigma: Tensor, which: Sequence[int]) -> list[Tensor]:
        noises = self._guidance.noises(x, sigma, [self._texts[number] for number in which])
        return [x - noise * sigma for noise in noises]

    def guided(self, x: Tensor, sigma: Tensor, negative: int, positive: int, scale: float) -> Tensor:
        noise = self._guidance.guided_noise(x, sigma, self._texts[negative], self._texts[positive], scale)
        return x - noise * sigma


class Host:
    """One model, ready to be sampled by a pack."""

    def __init__(self, model: "Model", monitor: Monitor) -> None:
        self._model, self._monitor = model, monitor

    def bounds(self) -> tuple[float, float]:
        """The lowest and highest noise level."""
        levels = self._model.shelf.levels
        return levels.lowest, levels.highest

    def levels(self, scheduler: str, steps: int) -> Tensor:
        """A schedule by ComfyUI's name: its levels and zero."""
        return torch.cat([SCHEDULERS[scheduler](self._model.shelf.levels, steps), torch.zeros(1)])

    def run(self, run: Run) -> Tensor:
        """The sampled latent, in the autoencoder's scale; raises Interrupted."""
        format_ = self._model.get_model_object("latent_format")
        latent: Tensor = format_.process_in(run.latent)
        unet = self._model.unet()
        beside = surroundings(unet, latent, run.conditionings[0][0][1])
        guidance = Guidance(unet, self._model.shelf.levels, self._monitor.check, beside)
        session, total = _Session(guidance, run, latent), len(run.sigmas) - 1

        estimate = latent

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            nonlocal estimate
            estimate = run.guide(session, x, sigma)
            return estimate

        def report(step: int) -> None:
            self._monitor.step(step + 1, total)
            self._monitor.show(lambda: self._model.mixture().picture(estimate))

        x = latent + run.noise * run.sigmas[0]
        if callable(run.solver):
            sampled = run.solver(denoise, x, run.sigmas, report, run.step_noise)
        else:
            sampled = solve(run.solver, denoise, x, run.sigmas, report, run.step_noise)
        return format_.process_out(sampled)
