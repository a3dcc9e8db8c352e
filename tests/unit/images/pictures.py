"""Picture files for the tests of this folder."""

import base64
import io

import numpy as np
from PIL import Image


def scene(width: int = 64, height: int = 48) -> Image.Image:
    """An RGB picture without two equal corners, so that a wrong turn or colour shows."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def noise(width: int, height: int) -> Image.Image:
    """A picture that no compression makes smaller."""
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """The picture as a file of that format."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    """The picture in a file, loaded."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def b64(data: bytes) -> str:
    """Standard base64 text."""
    return base64.b64encode(data).decode()
