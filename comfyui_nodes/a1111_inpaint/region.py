"""Where WebUI's "only masked" paints: a box around the mask, and how pictures get into it and back. Pure.

Rules: A1111 v1.10.1, `modules/masking.py` (the box: the blurred mask's extent, padded, grown to the processing size's
aspect), `modules/images.py` resize_image 2 (into the box: fitted, the rest filled from the edge) and 1 (back: covering,
the rest cut off), both LANCZOS on 8 bits. The processing size here is the padded picture's own.
"""

from typing import TypeAlias

import torch
from PIL import Image

from .lanczos import resized
from .levels import Box, levels_in, picture_of

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


def box_of(blurred: torch.Tensor, padding: int) -> Box:
    """The box that is painted for a blurred mask (height, width) of 0..1, of the processing size.

    An empty mask has the whole picture for its box: WebUI then repaints all of it, here nothing shows of that.
    """
    height, width = blurred.shape
    columns, rows = (255 * blurred.amax(side) > 0.5 for side in (0, 1))  # where a level is not zero once it is rounded
    if not rows.any():
        return 0, 0, width, height
    across, down = _extent(columns, padding), _extent(rows, padding)
    wide, high = across[1] - across[0], down[1] - down[0]
    if wide / high > width / height:
        down = _grown(down, wide / (width / height), height)
    else:
        across = _grown(across, high * (width / height), width)
    return across[0], down[0], across[1], down[1]


def _scaled_size(part: Size, size: Size, *, covering: bool) -> Size:
    """What a part of that size becomes in its own aspect so that it just covers `size`, or just fits into it."""
    width, height = size
    wider = width * part[1] > height * part[0]
    if wider == covering:
        return width, part[1] * width // part[0]
    return part[0] * height // part[1], height


def fitted(part: torch.Tensor, size: Size) -> torch.Tensor:
    """A box's content, uint8 (rows, columns) or with three channels, brought to `size` (width, height).

    What little the aspect leaves free is carried on from the edge.
    """
    width, height = size
    levels = resized(part, *_scaled_size((part.shape[1], part.shape[0]), size, covering=False))
    if levels.shape[:2] == (height, width):
        return levels
    scaled = picture_of(levels)
    whole = Image.new(scaled.mode, size)
    left, top = width // 2 - scaled.width // 2, height // 2 - scaled.height // 2
    whole.paste(scaled, (left, top))
    if top > 0:
        whole.paste(scaled.resize((width, top), box=(0, 0, width, 0)), (0, 0))
        edge = 0, scaled.height, width, scaled.height
        whole.paste(scaled.resize((width, top), box=edge), (0, top + scaled.height))
    if left > 0:
        whole.paste(scaled.resize((left, height), box=(0, 0, 0, height)), (0, 0))
        edge = scaled.width, 0, scaled.width, height
        whole.paste(scaled.resize((left, height), box=edge), (left + scaled.width, 0))
    return levels_in(whole)


def covering(painted: torch.Tensor, size: Size) -> torch.Tensor:
    """What was painted, uint8 (height, width, 3), brought back to a box of `size` (width, height).

    What its aspect has too much is cut off on both sides.
    """
    width, height = size
    over = resized(painted, *_scaled_size((painted.shape[1], painted.shape[0]), size, covering=True))
    left, top = over.shape[1] // 2 - width // 2, over.shape[0] // 2 - height // 2
    return over[top : top + height, left : left + width]
