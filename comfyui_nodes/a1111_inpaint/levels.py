"""Between ComfyUI's pictures (float, 0..1) and 8-bit levels as Pillow has them. Knows no rule of WebUI's."""

from typing import TypeAlias

import torch
from PIL import Image

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, right and bottom exclusive."""
_ROWS = 128


def within(box: Box, left: int, top: int) -> Box:
    """The same box as seen from a part of the picture that begins there."""
    return box[0] - left, box[1] - top, box[2] - left, box[3] - top


def cut(levels: torch.Tensor) -> torch.Tensor:
    """Levels as uint8, their fractions dropped; what lies outside 0..255 is cut off. Changes what comes in.

    By way of 16 bits, since torch takes three times as long from float to uint8.
    """
    return levels.clamp_(0, 255).to(torch.int16).to(torch.uint8)


def levels_of(values: torch.Tensor, *, rounded: bool = True) -> torch.Tensor:
    """Values 0..1 as whole levels, uint8 on the CPU, rounded or their fractions dropped; what lies outside is cut off.

    Some rows at a time: what lies in between then stays in the processor's cache, and no memory is asked for anew.
    """
    levels = torch.empty(values.shape, dtype=torch.uint8)
    scaled = torch.empty_like(values[:_ROWS], dtype=torch.float32, device="cpu")
    for given, wanted in zip(values.cpu().split(_ROWS), levels.split(_ROWS), strict=True):
        part = scaled[: len(given)].copy_(given).mul_(255)
        wanted.copy_(cut(part.round_() if rounded else part))
    return levels


def put_values(levels: torch.Tensor, values: torch.Tensor) -> None:
    """Whole levels as values 0..1 into float32 of the same shape. In two steps: torch takes twice as long in one."""
    values.copy_(levels).div_(255)


def picture_of(levels: torch.Tensor) -> Image.Image:
    """uint8 (height, width) or (height, width, 3) as an L or RGB picture."""
    return Image.fromarray(levels.numpy())


def levels_in(picture: Image.Image) -> torch.Tensor:
    """A picture's levels as uint8: (height, width) of an L picture, else (height, width, channels)."""
    flat = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    channels = len(picture.getbands())
    return flat.reshape(picture.height, picture.width, *([channels] if channels > 1 else []))


def require_one_size(mask: torch.Tensor, image: torch.Tensor) -> None:
    """Raises ValueError if a MASK (..., height, width) has not the size of an IMAGE (..., height, width, channels)."""
    (high, wide), (height, width) = mask.shape[-2:], image.shape[-3:-1]
    if (high, wide) != (height, width):
        raise ValueError(
            f"the mask is {wide}x{high} but the picture {width}x{height}: "
            "connect blurred_mask and image of the same A1111 Inpaint Masks"
        )
