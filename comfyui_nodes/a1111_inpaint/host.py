"""The one place that knows ComfyUI's samplers: runs a solver on a model, and asks for a decision at each call.

Another backend than ComfyUI hands over models with a method `sampling_host()`, whose result has the methods of `Host`.
The insides of ComfyUI are imported when a run starts, since the pack is read where they are not there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from .guidance import Conditioning, Session
from .noise import StepNoise
from .solvers import Solver


@dataclass(frozen=True)
class Run:
    """All that a host needs. `latent` is in the VAE's scale, `noise` of unit variance, both [batch, channels, h, w].

    `solver` is a name that the host knows, or a solver of this pack. `noisy` says whether a named one takes noise.
    """

    solver: str | Solver
    sigmas: Tensor
    latent: Tensor
    noise: Tensor
    conditionings: Sequence[Conditioning]
    guide: Callable[[Session, Tensor, Tensor], Tensor]
    step_noise: StepNoise
    noisy: bool
    seed: int


class Host(Protocol):
    """What runs a model."""

    def bounds(self) -> tuple[float, float]:
        """The model's lowest and highest noise level."""
        ...

    def levels(self, scheduler: str, steps: int) -> Tensor:
        """A schedule of ComfyUI's: `steps` + 1 levels, the last one zero."""
        ...

    def run(self, run: Run) -> Tensor:
        """The sampled latent, in the VAE's scale."""
        ...


def host_of(model: Any) -> Host:
    """The host that a MODEL belongs to."""
    host: Host = model.sampling_host() if hasattr(model, "sampling_host") else ComfyUi(model)
    return host


class ComfyUi:
    """ComfyUI's own samplers, with its wrappers, hooks, previews and interrupts."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._sampling = model.get_model_object("model_sampling")

    def bounds(self) -> tuple[float, float]:
        return float(self._sampling.sigma_min), float(self._sampling.sigma_max)

    def levels(self, scheduler: str, steps: int) -> Tensor:
        import comfy.samplers

        levels: Tensor = comfy.samplers.calculate_sigmas(self._sampling, scheduler, steps)
        return levels

    def run(self, run: Run) -> Tensor:
        import comfy.model_management
        import comfy.sample
        import comfy.utils
        import latent_preview

        guider = _guider(self._model, run)
        callback = latent_preview.prepare_callback(self._model, len(run.sigmas) - 1)
        latent = comfy.sample.fix_empty_latent_channels(self._model, run.latent)
        quiet = not comfy.utils.PROGRESS_BAR_ENABLED
        sampler = _sampler(run)
        samples: Tensor = guider.sample(
            run.noise, latent, sampler, run.sigmas, callback=callback, disable_pbar=quiet, seed=run.seed
        )
        return samples.to(comfy.model_management.intermediate_device())


def _guider(model: Any, run: Run) -> Any:
    """ComfyUI's guider, asking `run.guide` at each call; it is the run's Session too."""
    import comfy.samplers

    class Guider(comfy.samplers.CFGGuider):
        latent: Tensor
        options: dict[str, Any]

        def predict_noise(self, x: Tensor, timestep: Tensor, model_options: Any = None, seed: Any = None) -> Tensor:
            self.options = model_options or {}
            return run.guide(self, x, timestep)

        def predict(self, x: Tensor, sigma: Tensor, which: Sequence[int]) -> list[Tensor]:
            chosen = [self.conds[str(number)] for number in which]
            estimates: list[Tensor] = comfy.samplers.calc_cond_batch(self.inner_model, chosen, x, sigma, self.options)
            return estimates

        def guided(self, x: Tensor, sigma: Tensor, negative: int, positive: int, scale: float) -> Tensor:
            pair = self.conds[str(negative)], self.conds[str(positive)]
            guided: Tensor = comfy.samplers.sampling_function(
                self.inner_model, x, sigma, *pair, scale, model_options=self.options
            )
            return guided

    guider = Guider(model)
    guider.inner_set_conds({str(number): conditioning for number, conditioning in enumerate(run.conditionings)})
    return guider


def _sampler(run: Run) -> Any:
    """ComfyUI's sampler; it starts from latent + sigma noise at every level, as A1111 does image to image."""
    import comfy.samplers

    class Sampler(comfy.samplers.KSAMPLER):
        def sample(self, model_wrap: Any, sigmas: Any, extra: Any, callback: Any, noise: Any, *rest: Any) -> Any:
            model_wrap.latent = rest[0]
            return super().sample(model_wrap, sigmas, extra, callback, noise, *rest)

        def max_denoise(self, model_wrap: Any, sigmas: Tensor) -> bool:
            return False

    if callable(run.solver):
        return Sampler(_adapted(run.solver, run.step_noise))

    import comfy.k_diffusion.sampling

    function = getattr(comfy.k_diffusion.sampling, f"sample_{run.solver}")
    return Sampler(function, {"noise_sampler": run.step_noise} if run.noisy else {})


def _adapted(solver: Solver, noise: StepNoise) -> Callable[..., Tensor]:
    """A solver of this pack in the form of ComfyUI's sampler functions."""

    def function(model: Any, x: Tensor, sigmas: Tensor, extra_args: Any, callback: Any, disable: bool) -> Tensor:
        seen: dict[str, Tensor] = {}

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            seen.update(x=x, denoised=model(x, sigma * x.new_ones([len(x)]), **extra_args))
            return seen["denoised"]

        def report(step: int) -> None:
            if callback is not None:
                callback({"i": step, **seen})

        return solver(denoise, x, sigmas, report, noise)

    return function
