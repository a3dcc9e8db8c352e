"""Nodes that make and change latents: ComfyUI's dictionaries with `samples` and perhaps `noise_mask`."""

from typing import Any, TypeAlias

import torch
from torch import Tensor

from orchestrator.embedded.catalogue import InputSpec, NodeClass, Result
from orchestrator.embedded.checkpoint import VaeHandle
from orchestrator.embedded.compositing import composite

Latent: TypeAlias = dict[str, Any]

_CELL = 8
_LARGEST = 16384
_SIZE = {"default": 512, "min": 16, "max": _LARGEST, "step": _CELL}
_PLACE = {"default": 0, "min": 0, "max": _LARGEST, "step": _CELL}


def _empty(width: int, height: int, batch_size: int) -> Result:
    return Result(({"samples": torch.zeros(batch_size, 4, height // _CELL, width // _CELL)},))


def _encode(pixels: Tensor, vae: VaeHandle) -> Result:
    return Result(({"samples": vae.encode(pixels)},))


def _decode(samples: Latent, vae: VaeHandle) -> Result:
    return Result((vae.decode(samples["samples"]),))


def _set_mask(samples: Latent, mask: Tensor) -> Result:
    planes = mask.reshape(-1, 1, mask.shape[-2], mask.shape[-1])
    return Result(({**samples, "noise_mask": planes},))


def _composite(
    destination: Latent, source: Latent, x: int, y: int, resize_source: bool, mask: Tensor | None = None
) -> Result:
    pasted = composite(destination["samples"], source["samples"], x // _CELL, y // _CELL, mask, resize_source)
    return Result(({**destination, "samples": pasted},))


def _multiply(samples: Latent, multiplier: float) -> Result:
    return Result(({**samples, "samples": samples["samples"] * multiplier},))


def _vae_classes() -> tuple[NodeClass, ...]:
    return (
        NodeClass(
            name="VAEEncode",
            title="VAE Encode",
            category="latent",
            inputs=lambda: (InputSpec("pixels", "IMAGE"), InputSpec("vae", "VAE")),
            outputs=("LATENT",),
            make=lambda: _encode,
        ),
        NodeClass(
            name="VAEDecode",
            title="VAE Decode",
            category="latent",
            inputs=lambda: (InputSpec("samples", "LATENT"), InputSpec("vae", "VAE")),
            outputs=("IMAGE",),
            make=lambda: _decode,
        ),
    )


def _change_classes() -> tuple[NodeClass, ...]:
    return (
        NodeClass(
            name="SetLatentNoiseMask",
            title="Set Latent Noise Mask",
            category="latent/inpaint",
            inputs=lambda: (InputSpec("samples", "LATENT"), InputSpec("mask", "MASK")),
            outputs=("LATENT",),
            make=lambda: _set_mask,
        ),
        NodeClass(
            name="LatentCompositeMasked",
            title="LatentCompositeMasked",
            category="latent",
            inputs=lambda: (
                InputSpec("destination", "LATENT"),
                InputSpec("source", "LATENT"),
                InputSpec("x", "INT", _PLACE),
                InputSpec("y", "INT", _PLACE),
                InputSpec("resize_source", "BOOLEAN", {"default": False}),
                InputSpec("mask", "MASK", category="optional"),
            ),
            outputs=("LATENT",),
            make=lambda: _composite,
            module="comfy_extras.nodes_mask",
        ),
        NodeClass(
            name="LatentMultiply",
            title="LatentMultiply",
            category="latent/advanced",
            inputs=lambda: (
                InputSpec("samples", "LATENT"),
                InputSpec("multiplier", "FLOAT", {"default": 1.0, "min": -10.0, "max": 10.0, "step": 0.01}),
            ),
            outputs=("LATENT",),
            make=lambda: _multiply,
            module="comfy_extras.nodes_latent",
        ),
    )


def classes() -> tuple[NodeClass, ...]:
    """The latent nodes."""
    empty = NodeClass(
        name="EmptyLatentImage",
        title="Empty Latent Image",
        category="latent",
        inputs=lambda: (
            InputSpec("width", "INT", _SIZE),
            InputSpec("height", "INT", _SIZE),
            InputSpec("batch_size", "INT", {"default": 1, "min": 1, "max": 4096}),
        ),
        outputs=("LATENT",),
        make=lambda: _empty,
    )
    return (empty, *_vae_classes(), *_change_classes())
