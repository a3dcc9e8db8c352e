"""Stable Diffusion WebUI's inpainting as ComfyUI nodes: what core ComfyUI lacks for it, and nothing else.

Loads in ComfyUI and in the embedded backend alike: torch, numpy, Pillow, `folder_paths`; `host` alone knows
ComfyUI inside. It must not know the service that uses it.
"""

from .concat import A1111InpaintConditioning
from .crop import A1111InpaintCrop
from .fill import A1111InpaintFill
from .masks import A1111InpaintMasks
from .paste import A1111InpaintPaste
from .prompt import A1111Prompt
from .sampler import A1111Sampler
from .start import A1111InpaintStart
from .temporary_image import A1111TemporaryImage

NODE_CLASS_MAPPINGS = {
    "A1111Prompt": A1111Prompt,
    "A1111Sampler": A1111Sampler,
    "A1111InpaintMasks": A1111InpaintMasks,
    "A1111InpaintCrop": A1111InpaintCrop,
    "A1111InpaintFill": A1111InpaintFill,
    "A1111InpaintStart": A1111InpaintStart,
    "A1111InpaintConditioning": A1111InpaintConditioning,
    "A1111InpaintPaste": A1111InpaintPaste,
    "A1111TemporaryImage": A1111TemporaryImage,
}

NODE_DISPLAY_NAME_MAPPINGS = {
    "A1111Prompt": "A1111 Prompt",
    "A1111Sampler": "A1111 Sampler",
    "A1111InpaintMasks": "A1111 Inpaint Masks",
    "A1111InpaintCrop": "A1111 Inpaint Crop",
    "A1111InpaintFill": "A1111 Inpaint Fill",
    "A1111InpaintStart": "A1111 Inpaint Start",
    "A1111InpaintConditioning": "A1111 Inpaint Conditioning",
    "A1111InpaintPaste": "A1111 Inpaint Paste",
    "A1111TemporaryImage": "A1111 Temporary Image",
}

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
