"""Where WebUI's "only masked" paints: a box around the mask, and how pictures get into it and back. Pure.

Rules: A1111 v1.10.1, `modules/masking.py` (the box: the blurred mask's extent, padded, grown to the processing size's
aspect), `modules/images.py` resize_image 2 (into the box: fitted, the rest filled from the edge) and 1 (back: covering,
the rest cut off), both LANCZOS on 8 bits. The processing size here is the padded picture's own.
"""

from typing import TypeAlias

import torch
from PIL import Image

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, right and bottom exclusive."""
Size: TypeAlias = tuple[int, int]
"""Width, height."""


def _extent(used: torch.Tensor, padding: int) -> tuple[int, int]:
    places = used.nonzero()
    return max(int(places[0]) - padding, 0), min(int(places[-1]) + 1 + padding, len(used))


def _grown(span: tuple[int, int], length: float, limit: int) -> tuple[int, int]:
    """The span grown to both sides to a length (the fraction is dropped), pushed back into 0..limit, cut to it."""
    low, high = span
    missing = int(length - (high - low))
    low = max(min(low - missing // 2, limit - (high - low) - missing), 0)
    return low, min(low + (span[1] - span[0]) + missing, limit)


def box_of(levels: torch.Tensor, padding: int) -> Box:
    """The box that is painted for a blurred mask, uint8 (height, width) of the processing size.

    An empty mask has the whole picture for its box: WebUI then repaints all of it, here nothing shows of that.
    """
    height, width = levels.shape
    if not levels.any():
        return 0, 0, width, height
    across, down = _extent(levels.any(dim=0), padding), _extent(levels.any(dim=1), padding)
    wide, high = across[1] - across[0], down[1] - down[0]
    if wide / high > width / height:
        down = _grown(down, wide / (width / height), height)
    else:
        across = _grown(across, high * (width / height), width)
    return across[0], down[0], across[1], down[1]


def _scaled(picture: Image.Image, size: Size, *, covering: bool) -> Image.Image:
    """Resized in its own aspect so that it just covers `size`, or just fits into it."""
    width, height = size
    wider = width * picture.height > height * picture.width
    if wider == covering:
        target = width, picture.height * width // picture.width
    else:
        target = picture.width * height // picture.height, height
    return picture.resize(target, Image.Resampling.LANCZOS)


def into_box(picture: Image.Image, box: Box, size: Size) -> Image.Image:
    """What lies in the box, brought to `size`; what little the aspect leaves free is carried on from the edge."""
    width, height = size
    part = _scaled(picture.crop(box), size, covering=False)
    whole = Image.new(picture.mode, size)
    left, top = width // 2 - part.width // 2, height // 2 - part.height // 2
    whole.paste(part, (left, top))
    if top > 0:
        whole.paste(part.resize((width, top), box=(0, 0, width, 0)), (0, 0))
        whole.paste(part.resize((width, top), box=(0, part.height, width, part.height)), (0, top + part.height))
    if left > 0:
        whole.paste(part.resize((left, height), box=(0, 0, 0, height)), (0, 0))
        whole.paste(part.resize((left, height), box=(part.width, 0, part.width, height)), (left + part.width, 0))
    return whole


def out_of_box(painted: Image.Image, box: Box, size: Size) -> Image.Image:
    """A picture of `size`, black but for the box, into which `painted` is brought back."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    part = _scaled(painted, (width, height), covering=True)
    inside = Image.new(painted.mode, (width, height))
    inside.paste(part, (width // 2 - part.width // 2, height // 2 - part.height // 2))
    whole = Image.new(painted.mode, size)
    whole.paste(inside, (left, top))
    return whole
