"""Pictures and masks that tests post, and the plain values of a quick job."""

import base64
import io
import random
from typing import Any

import aiohttp
import numpy as np
from PIL import Image, ImageDraw

SIDE = 128


def plain(colour: tuple[int, int, int] = (246, 246, 246), size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    return Image.new("RGB", size, colour)


def noisy(size: tuple[int, int]) -> Image.Image:
    draw = np.random.default_rng(random.Random(5).getrandbits(32))
    return Image.fromarray(draw.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def box_mask(size: tuple[int, int] = (SIDE, SIDE), margin: int = 16) -> Image.Image:
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).rectangle((margin, margin, size[0] - margin - 1, size[1] - margin - 1), fill=255)
    return mask


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def text(picture: Image.Image) -> str:
    return base64.b64encode(png(picture)).decode()


def values(**more: object) -> dict[str, Any]:
    """A job of few steps on a plain white picture; `more` overrides."""
    quick = {"image": text(plain()), "mask": text(box_mask()), "model": "demo", "prompt": "a red heart", "seed": 1}
    return quick | {"steps": 4, "denoising_strength": 1.0, "inpainting_fill": 2} | more


async def fetch(session: aiohttp.ClientSession, url: str) -> Image.Image:
    async with session.get(url) as answer:
        assert answer.status == 200, await answer.text()
        picture = Image.open(io.BytesIO(await answer.read()))
        picture.load()
        return picture


async def paint(session: aiohttp.ClientSession, widget: str = "inpaint", **more: object) -> np.ndarray:
    """Runs the widget, answers the PNG's pixels."""
    body = values(**more) if widget == "inpaint" else more
    async with session.post(f"/widgets/{widget}", json=body, headers={"Accept": "image/png"}) as answer:
        assert answer.status == 200, await answer.text()
        return np.asarray((await fetch(session, (await answer.json())["url"])).convert("RGB"))
