"""The two KSampler nodes."""

from typing import Any, TypeAlias

from orchestrator.embedded.catalogue import InputSpec, NodeClass, Result
from orchestrator.embedded.checkpoint import Model
from orchestrator.embedded.monitor import Monitor
from orchestrator.embedded.nodes.conditioning import Conditioning
from orchestrator.embedded.nodes.latents import Latent
from orchestrator.embedded.sampler import Settings, sample
from orchestrator.embedded.schedule import SCHEDULERS
from orchestrator.embedded.solving import SAMPLERS

_SEED = {"default": 0, "min": 0, "max": 2**64 - 1, "control_after_generate": True}
_STEPS = {"default": 20, "min": 1, "max": 10000}
_CFG = {"default": 8.0, "min": 0.0, "max": 100.0, "step": 0.1, "round": 0.01}
_CHOICES = (InputSpec("sampler_name", list(SAMPLERS)), InputSpec("scheduler", list(SCHEDULERS)))
_LINKS = (
    InputSpec("positive", "CONDITIONING"),
    InputSpec("negative", "CONDITIONING"),
    InputSpec("latent_image", "LATENT"),
)

_Inputs: TypeAlias = tuple[InputSpec, ...]
_SIMPLE: _Inputs = (
    InputSpec("model", "MODEL"),
    InputSpec("seed", "INT", _SEED),
    InputSpec("steps", "INT", _STEPS),
    InputSpec("cfg", "FLOAT", _CFG),
    *_CHOICES,
    *_LINKS,
    InputSpec("denoise", "FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}),
)
_ADVANCED: _Inputs = (
    InputSpec("model", "MODEL"),
    InputSpec("add_noise", ["enable", "disable"]),
    InputSpec("noise_seed", "INT", _SEED),
    InputSpec("steps", "INT", _STEPS),
    InputSpec("cfg", "FLOAT", _CFG),
    *_CHOICES,
    *_LINKS,
    InputSpec("start_at_step", "INT", {"default": 0, "min": 0, "max": 10000}),
    InputSpec("end_at_step", "INT", {"default": 10000, "min": 0, "max": 10000}),
    InputSpec("return_with_leftover_noise", ["disable", "enable"]),
)


class _Sampling:
    """Runs the sampler for either node; holds what tells the steps."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def _sample(
        self, model: Model, positive: Conditioning, negative: Conditioning, latent: Latent, settings: Settings
    ) -> Result:
        mask = latent.get("noise_mask")
        samples = sample(model, positive[0][0], negative[0][0], latent["samples"], mask, settings, self._monitor)
        return Result(({**latent, "samples": samples},))

    def simple(
        self, model: Model, positive: Conditioning, negative: Conditioning, latent_image: Latent, **set_to: Any
    ) -> Result:
        settings = Settings(
            seed=set_to["seed"],
            steps=set_to["steps"],
            cfg=set_to["cfg"],
            sampler=set_to["sampler_name"],
            scheduler=set_to["scheduler"],
            denoise=set_to["denoise"],
        )
        return self._sample(model, positive, negative, latent_image, settings)

    def advanced(
        self, model: Model, positive: Conditioning, negative: Conditioning, latent_image: Latent, **set_to: Any
    ) -> Result:
        settings = Settings(
            seed=set_to["noise_seed"],
            steps=set_to["steps"],
            cfg=set_to["cfg"],
            sampler=set_to["sampler_name"],
            scheduler=set_to["scheduler"],
            first=set_to["start_at_step"],
            last=set_to["end_at_step"],
            finish=set_to["return_with_leftover_noise"] == "disable",
            add_noise=set_to["add_noise"] == "enable",
        )
        return self._sample(model, positive, negative, latent_image, settings)


def classes(monitor: Monitor) -> tuple[NodeClass, ...]:
    """KSampler and KSamplerAdvanced."""
    sampling = _Sampling(monitor)
    return (
        NodeClass(
            name="KSampler",
            title="KSampler",
            category="sampling",
            inputs=lambda: _SIMPLE,
            outputs=("LATENT",),
            make=lambda: sampling.simple,
        ),
        NodeClass(
            name="KSamplerAdvanced",
            title="KSampler (Advanced)",
            category="sampling",
            inputs=lambda: _ADVANCED,
            outputs=("LATENT",),
            make=lambda: sampling.advanced,
        ),
    )
