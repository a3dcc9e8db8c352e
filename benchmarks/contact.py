"""The contact sheet docs/parity.png: fills by blur, invert and strength, and only masked beside the whole picture,
as the service paints the demo model."""

import argparse
import asyncio
import base64
import io
import itertools
import tempfile
from pathlib import Path

import aiohttp
from PIL import Image, ImageDraw

from benchmarks.service import serving

_SIDE, _GAP, _LEFT, _TOP = 128, 6, 96, 58
_FILLS = ("fill", "original", "latent noise", "latent nothing")
_SMALL = (44, 44, 83, 83)
_BLURS, _INVERTS, _STRENGTHS, _STEPS = (0, 12), (0, 1), (0.3, 0.7, 1.0), 8


def _scene() -> Image.Image:
    """A dark square and a stripe on two grounds, so that every fill has something to take up."""
    picture = Image.new("RGB", (_SIDE, _SIDE), (240, 220, 60))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((_SIDE // 2, 0, _SIDE, _SIDE), fill=(90, 170, 230))
    draw.rectangle((40, 40, 87, 87), fill=(40, 40, 40))
    return picture


def _mask(box: tuple[int, int, int, int] = (28, 28, 99, 99)) -> Image.Image:
    mask = Image.new("L", (_SIDE, _SIDE))
    ImageDraw.Draw(mask).rectangle(box, fill=255)
    return mask


def _text(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


async def _paint(session: aiohttp.ClientSession, **values: object) -> Image.Image:
    fixed = {
        "image": _text(_scene()),
        "mask": _text(_mask()),
        "model": "demo",
        "prompt": "a red heart",
        "seed": 4,
        "steps": _STEPS,
    }
    async with session.post("/widgets/inpaint", json=fixed | values, headers={"Accept": "image/png"}) as answer:
        body = await answer.json()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {body}")
    async with session.get(body["url"]) as answer:
        return Image.open(io.BytesIO(await answer.read())).convert("RGB")


def _rows() -> list[tuple[str, dict[str, object]]]:
    """A row for each fill and blur, then each fill over a small mask in the whole picture and with only masked."""
    rows: list[tuple[str, dict[str, object]]] = []
    for fill, blur in itertools.product(range(len(_FILLS)), _BLURS):
        rows.append((f"{fill} {_FILLS[fill]}\nblur {blur}", {"inpainting_fill": fill, "mask_blur": blur}))
    small = {"mask": _text(_mask(_SMALL)), "mask_blur": 2}
    for fill, only in itertools.product((1, 2), (0, 1)):
        said = f"{fill} {_FILLS[fill]}\nsmall mask\n{'only masked' if only else 'whole picture'}"
        rows.append((said, small | {"inpainting_fill": fill, "inpaint_full_res": only, "inpaint_full_res_padding": 8}))
    return rows


async def sheet(session: aiohttp.ClientSession) -> Image.Image:
    """A row as `_rows` has it, a column for each invert and strength."""
    rows = _rows()
    columns = list(itertools.product(_INVERTS, _STRENGTHS))
    step = _SIDE + _GAP
    whole = Image.new("RGB", (_LEFT + step * len(columns), _TOP + step * len(rows)), "white")
    draw = ImageDraw.Draw(whole)
    whole.paste(_mask().resize((48, 48)), (4, 4))
    for across, (invert, strength) in enumerate(columns):
        draw.text((_LEFT + step * across, 26), f"invert {invert}\nstrength {strength}", fill="black")
    for down, (said, values) in enumerate(rows):
        draw.text((4, _TOP + step * down + 40), said, fill="black")
        for across, (invert, strength) in enumerate(columns):
            picture = await _paint(session, **values, inpainting_mask_invert=invert, denoising_strength=strength)
            whole.paste(picture, (_LEFT + step * across, _TOP + step * down))
    return whole


async def _main(file: Path) -> None:
    with tempfile.TemporaryDirectory() as data:
        async with serving(Path(data)) as session:
            (await sheet(session)).save(file, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=Path("docs/parity.png"))
    asyncio.run(_main(parser.parse_args().file))
