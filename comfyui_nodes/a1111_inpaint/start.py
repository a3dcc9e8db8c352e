"""Node: what the masked region starts from, in latent space (inpainting_fill 2 and 3).

Rule: A1111 v1.10.1, `modules/processing.py` 1749-1754. Must not know the sampler.
"""

from typing import Any

import torch

from .noise import SOURCES, Streams, seeds_of


class A1111InpaintStart:
    """LATENT (batch, channels, h, w) and binary MASK (1 or batch, h, w) → LATENT, everything else of it kept.

    MODEL is asked for its latent format alone: the noise of the sampler lives in the model's scale, a LATENT in the
    VAE's (0.18215 for SD1.5, 0.13025 for SDXL).
    """

    CATEGORY = "inpaint/a1111"
    DESCRIPTION = (
        "Starts the masked part from noise or from nothing, as Stable Diffusion WebUI's 'latent noise' and "
        "'latent nothing'. Bypass it to start from the picture that was encoded."
    )
    FUNCTION = "start"
    RETURN_TYPES = ("LATENT",)
    RETURN_NAMES = ("samples",)
    OUTPUT_TOOLTIPS = ("The latent, replaced where the mask is 1.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        start = "'latent noise' is the sampler's own noise, so give the sampler's seed. 'latent nothing' is zeros."
        # The seed here has to follow the sampler's, so it gets no "control after generate" of its own.
        seed = {"default": 0, "min": 0, "max": 0xFFFFFFFFFFFFFFFF, "control_after_generate": False}
        return {
            "required": {
                "samples": ("LATENT", {"tooltip": "The encoded picture."}),
                "mask": ("MASK", {"tooltip": "latent_mask from A1111 Inpaint Masks."}),
                "model": ("MODEL", {"tooltip": "The model that samples."}),
                "start": (["latent noise", "latent nothing"], {"default": "latent noise", "tooltip": start}),
                "seed": ("INT", seed | {"tooltip": "The same seed as in the sampler."}),
                "noise_source": (SOURCES, {"default": "cpu", "tooltip": "The same source as in the sampler."}),
            }
        }

    def start(
        self, samples: dict[str, Any], mask: torch.Tensor, model: Any, start: str, seed: int, noise_source: str = "cpu"
    ) -> tuple[dict[str, Any]]:
        encoded = samples["samples"]
        inside = mask.reshape(-1, 1, *mask.shape[-2:]).to(encoded)
        if inside.shape[2:] != encoded.shape[2:]:
            raise ValueError(
                f"the mask is {inside.shape[3]}x{inside.shape[2]} but the latent is "
                f"{encoded.shape[3]}x{encoded.shape[2]}: connect latent_mask of A1111 Inpaint Masks"
            )
        inside = inside[[turn % len(inside) for turn in range(len(encoded))]]
        noise = torch.zeros(encoded.shape)
        if start == "latent noise":
            noise = Streams(noise_source, seeds_of(samples, seed)).draw(noise)
        fresh = model.get_model_object("latent_format").process_out(noise).to(encoded)
        return (samples | {"samples": encoded * (1 - inside) + fresh * inside},)
