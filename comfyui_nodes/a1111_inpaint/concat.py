"""Node: what an inpainting checkpoint (nine input channels) reads beside the latent: mask and surroundings.

Rule: A1111 v1.10.1, `modules/processing.py` 336-393: the blurred mask is rounded, its pixels become mid-grey, and it is
brought to the latent's size by taking every eighth pixel. Other checkpoints do not look at it. Must not know samplers.
"""

from typing import Any

import torch

from .guidance import Conditioning

_CELL = 8
_GREY = 0.5


class A1111InpaintConditioning:
    """Two CONDITIONINGs, VAE, IMAGE and MASK of one size (multiples of 8) → the same CONDITIONINGs with the picture."""

    CATEGORY = "inpaint/a1111"
    DESCRIPTION = (
        "Shows an inpainting checkpoint what surrounds the masked part, as Stable Diffusion WebUI does. "
        "Bypass it for ordinary checkpoints, which have no place for it."
    )
    FUNCTION = "attach"
    RETURN_TYPES = ("CONDITIONING", "CONDITIONING")
    RETURN_NAMES = ("positive", "negative")
    OUTPUT_TOOLTIPS = ("The prompt with mask and surroundings.", "The negative prompt with mask and surroundings.")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        return {
            "required": {
                "positive": ("CONDITIONING", {"tooltip": "The prompt."}),
                "negative": ("CONDITIONING", {"tooltip": "The negative prompt."}),
                "vae": ("VAE", {"tooltip": "The checkpoint's VAE."}),
                "image": ("IMAGE", {"tooltip": "The picture that is encoded too: image of A1111 Inpaint Fill."}),
                "mask": ("MASK", {"tooltip": "blurred_mask from A1111 Inpaint Masks."}),
            }
        }

    def attach(
        self, positive: Conditioning, negative: Conditioning, vae: Any, image: torch.Tensor, mask: torch.Tensor
    ) -> tuple[Conditioning, Conditioning]:
        hidden = mask.reshape(-1, *mask.shape[-2:]).to(image).round()
        greyed = (image[..., :3] - _GREY) * (1 - hidden[..., None]) + _GREY
        seen = {
            "concat_latent_image": vae.encode(greyed),
            "concat_mask": hidden[:, None, ::_CELL, ::_CELL].contiguous(),
        }
        both = [[[states, extras | seen] for states, extras in prompt] for prompt in (positive, negative)]
        return both[0], both[1]
