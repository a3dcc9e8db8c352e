"""Pillow's Gaussian blur along a mask's rim alone: where a narrow layer of the surroundings can show.

A blur's time goes with its pixels, of which a mask has few near its rim. What is blurred here has Pillow's bits.
Knows no rule of WebUI's.
"""

from collections.abc import Iterator
from itertools import groupby

from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from .levels import Box

_GRAIN, _STRIP = 8, 32
"""Pixels to which the rim is told, and rows that are blurred at once."""


def reach_of(radius: int) -> int:
    """How many pixels away something still counts: Pillow takes three boxes, each of which ends within the radius."""
    return 3 * radius


def _spread(places: Tensor, reach: int) -> Tensor:
    """What lies within so many pixels of a place, up and down."""
    steps = -(-reach // _GRAIN)
    return max_pool2d(places[None], (2 * steps + 1, 1), 1, (steps, 0))[0]


def rim_of(mask: Tensor, reach: int) -> Tensor:
    """Where uint8 (height, width) hides something within reach of what it does not: 0 or 1 for each 8x8 pixels."""
    grown = pad(mask, (0, -mask.shape[1] % _GRAIN, 0, -mask.shape[0] % _GRAIN))
    high, wide = grown.shape[0] // _GRAIN, grown.shape[1] // _GRAIN
    rows = grown.reshape(high, _GRAIN, -1)
    most, least = (each.view(high, wide, _GRAIN) for each in (rows.amax(1), rows.amin(1)))
    visible = _spread(_spread((least.amin(2) < 255).float(), reach).mT, reach).mT
    return visible * (most.amax(2) > 0)


def _runs(places: Tensor, width: int, height: int) -> Iterator[Box]:
    """Strips that hold the places, as far to the left and right as those in the strip go."""
    strip = _STRIP // _GRAIN
    rows = pad(places, (0, 0, 0, -len(places) % strip)).reshape(-1, strip, places.shape[1]).amax(1)
    for number, row in enumerate(rows.tolist()):
        top, left = number * _STRIP, 0
        for held, run in groupby(row):
            right = left + _GRAIN * len([*run])
            if held:
                yield left, top, min(right, width), min(top + _STRIP, height)
            left = right


def _blurred_rows(picture: Image.Image, radius: int, places: Tensor) -> Iterator[tuple[Image.Image, Box]]:
    """The strips that hold the places, blurred along the rows, and where each lies."""
    reach = reach_of(radius)
    rows = ImageFilter.GaussianBlur((radius, 0))
    for left, top, right, bottom in _runs(places, *picture.size):
        start = max(left - reach, 0)
        part = picture.crop((start, top, min(right + reach, picture.width), bottom)).filter(rows)
        yield part.crop((left - start, 0, right - start, bottom - top)), (left, top, right, bottom)


def blurred_rim(picture: Image.Image, radius: int, rim: Tensor) -> Iterator[tuple[Image.Image, Box]]:
    """Parts of the blurred picture that hold the rim, and where each belongs; rows and columns exchanged in both.

    They are right wherever the mask of `rim_of` hides anything, which is also where only zeros are left out.
    """
    half = Image.new(picture.mode, (picture.height, picture.width))
    for part, (left, top, _, _) in _blurred_rows(picture, radius, _spread(rim, reach_of(radius))):
        half.paste(part.transpose(Image.Transpose.TRANSPOSE), (top, left))
    yield from _blurred_rows(half, radius, rim.mT)
