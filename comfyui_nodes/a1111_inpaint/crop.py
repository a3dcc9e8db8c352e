"""Node: brings the box around the mask to the whole picture's size, so that all of it goes into the masked part.

WebUI calls it "only masked" (`inpaint_full_res`); `region` states the rule. Must not know how the result comes back.
"""

from typing import Any

import torch

from .levels import levels_of, put_values, require_one_size
from .masks import FEATHERS, latent_mask
from .region import box_of, fitted

PADDING = {"default": 32, "min": 0, "max": 256}
"""The input of that name: pixels of surroundings that the model sees on each side of the mask."""


class A1111InpaintCrop:
    """IMAGE and the three MASKs of A1111 Inpaint Masks → the same for the box: all but the overlay are enlarged.

    Each picture of the batch has a box of its own. The latent mask is made anew; the one that comes in is what goes
    on when the node is bypassed.
    """

    CATEGORY = "inpaint/a1111"
    DESCRIPTION = (
        "Repaints only a box around the mask, at the size of the whole picture, as Stable Diffusion WebUI does for "
        "'only masked'. A1111 Inpaint Paste brings it back. Bypass both to repaint within the whole picture."
    )
    FUNCTION = "crop"
    RETURN_TYPES = ("IMAGE", "MASK", "MASK", "MASK")
    RETURN_NAMES = ("image", "latent_mask", "overlay_mask", "blurred_mask")
    OUTPUT_TOOLTIPS = (
        "The box, in the size of the picture. Encode this one.",
        "One hard-edged cell for each 8x8 pixels of it, for Set Latent Noise Mask.",
        "How much of the result shows; of the whole picture still. For Image Composite Masked.",
        "The blurred mask within the box, for A1111 Inpaint Fill.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        feather = "As in A1111 Inpaint Masks. Outside, WebUI fades to both sides of the edge when it paints a box."
        return {
            "required": {
                "image": ("IMAGE", {"tooltip": "The padded picture from A1111 Inpaint Masks."}),
                "latent_mask": ("MASK", {"tooltip": "latent_mask from A1111 Inpaint Masks."}),
                "overlay_mask": ("MASK", {"tooltip": "overlay_mask from A1111 Inpaint Masks."}),
                "blurred_mask": ("MASK", {"tooltip": "blurred_mask from A1111 Inpaint Masks."}),
                "padding": ("INT", PADDING | {"tooltip": "Pixels around the mask that the box takes in."}),
                "feather": (FEATHERS, {"default": "inside", "tooltip": feather}),
            }
        }

    def crop(
        self,
        image: torch.Tensor,
        latent_mask: torch.Tensor,
        overlay_mask: torch.Tensor,
        blurred_mask: torch.Tensor,
        padding: int,
        feather: str,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        require_one_size(blurred_mask, image)
        boxes = [
            _cropped(picture, blurred_mask[turn % len(blurred_mask)], padding) for turn, picture in enumerate(image)
        ]
        pictures, blurred = torch.empty_like(image[..., :3], device="cpu"), torch.empty(image.shape[:3])
        for turn, (pixels, mask, _) in enumerate(boxes):
            put_values(pixels, pictures[turn])
            put_values(mask, blurred[turn])
        cells = [chosen for _, _, chosen in boxes]
        pictures, chosen, blurred = (kind.to(image.device) for kind in (pictures, torch.stack(cells), blurred))
        return pictures, chosen, blurred_mask if feather == "outside" else overlay_mask, blurred


def _cropped(picture: torch.Tensor, blurred: torch.Tensor, padding: int) -> tuple[torch.Tensor, ...]:
    """The box of one picture (height, width, 3 or more) and of its blurred mask, in levels, and the latter's cells."""
    size = blurred.shape[1], blurred.shape[0]
    left, top, right, bottom = box_of(blurred, padding)
    pixels = fitted(levels_of(picture[top:bottom, left:right, :3]), size)
    mask = fitted(levels_of(blurred[top:bottom, left:right]), size)
    return pixels, mask, latent_mask(mask)
