"""Node: brings what was painted in the box around the mask back to its place. Must not know what lies around it.

The other half of A1111 Inpaint Crop; `region` states the rule.
"""

from typing import Any

import torch

from .crop import PADDING
from .levels import levels_of, put_values
from .region import box_of, covering


class A1111InpaintPaste:
    """IMAGE as it was painted, and the whole picture's blurred MASK → IMAGE of the whole, black around the box."""

    CATEGORY = "inpaint/a1111"
    DESCRIPTION = (
        "Brings the painted box back to its size and place, as Stable Diffusion WebUI does for 'only masked'. "
        "Image Composite Masked then lays it over the picture. Bypass it together with A1111 Inpaint Crop."
    )
    FUNCTION = "paste"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("What was painted in its place, black around the box.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        mask = "blurred_mask from A1111 Inpaint Masks, not the enlarged one from A1111 Inpaint Crop."
        return {
            "required": {
                "image": ("IMAGE", {"tooltip": "The decoded picture."}),
                "blurred_mask": ("MASK", {"tooltip": mask}),
                "padding": ("INT", PADDING | {"tooltip": "The same as in A1111 Inpaint Crop."}),
            }
        }

    def paste(self, image: torch.Tensor, blurred_mask: torch.Tensor, padding: int) -> tuple[torch.Tensor]:
        pasted = torch.zeros(len(image), *blurred_mask.shape[-2:], 3)
        for turn, picture in enumerate(image):
            left, top, right, bottom = box_of(blurred_mask[turn % len(blurred_mask)], padding)
            painted = levels_of(picture[..., :3], rounded=False)  # as WebUI
            back = covering(painted, (right - left, bottom - top))
            put_values(back, pasted[turn, top:bottom, left:right])
        return (pasted.to(image.device),)
