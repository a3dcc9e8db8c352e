"""Does the demo model obey its prompt? Asks the running service over HTTP and looks at the pictures.

Repaints the middle 12x12 art pixels of plain 128x128 pictures at strength 1.0 with fill 2 (latent noise), all else at
the widget's defaults, and lets `orchestrator.demo_model.judge` say what it sees:

* 100 prompts, ten colours by ten shapes: how often the dominant colour, and the shape, is the one that was asked for;
* 20 prompts with "red" and the LoRA `demo-red-is-blue` at 1.0: how often it comes out blue;
* the same with clip skip 2: how many pictures differ.
"""

import argparse
import asyncio
import base64
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
from PIL import Image, ImageDraw

from benchmarks.report import figure
from benchmarks.service import serving
from orchestrator.demo_model.judge import CELL, cells_of, judge
from orchestrator.demo_model.world import COLOURS, SPRITES

_SIDE, _FIRST, _LAST = 16 * CELL, 2 * CELL, 14 * CELL
_GROUNDS = ("white", "black", "yellow", "green")


@dataclass(frozen=True)
class Case:
    """One question: what to paint, on which plain ground."""

    colour: str
    shape: str
    ground: str

    @property
    def prompt(self) -> str:
        return f"a {self.colour} {self.shape} on a {self.ground} background"


def cases() -> list[Case]:
    """Ten colours by ten shapes, each on a ground of another colour."""
    found = []
    for row, colour in enumerate(COLOURS):
        grounds = [ground for ground in _GROUNDS if ground != colour]
        found += [Case(colour, shape, grounds[(row + place) % len(grounds)]) for place, shape in enumerate(SPRITES)]
    return found


def _base64(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


async def paint(session: aiohttp.ClientSession, case: Case, seed: int, **more: object) -> Image.Image:
    """The picture that the service answers with."""
    mask = Image.new("L", (_SIDE, _SIDE))
    ImageDraw.Draw(mask).rectangle((_FIRST, _FIRST, _LAST - 1, _LAST - 1), fill=255)
    values: dict[str, object] = {
        "image": _base64(Image.new("RGB", (_SIDE, _SIDE), COLOURS[case.ground])),
        "mask": _base64(mask),
    }
    values |= {"model": "demo", "prompt": case.prompt, "seed": seed, "denoising_strength": 1.0, "inpainting_fill": 2}
    async with session.post("/widgets/inpaint", json=values | more, headers={"Accept": "image/png"}) as answer:
        body = await answer.json()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {body}")
    async with session.get(body["url"]) as answer:
        return Image.open(io.BytesIO(await answer.read())).convert("RGB")


def _seen(picture: Image.Image, case: Case) -> tuple[str, str]:
    middle = np.asarray(picture)[_FIRST:_LAST, _FIRST:_LAST]
    verdict = judge(cells_of(middle), COLOURS[case.ground])
    return verdict.colour, verdict.shape


async def measure(session: aiohttp.ClientSession, sheet: Path | None) -> None:
    """Prints the figures, and writes all pictures into one if asked."""
    asked = cases()
    pictures = [await paint(session, case, seed) for seed, case in enumerate(asked)]
    seen = [_seen(picture, case) for picture, case in zip(pictures, asked, strict=True)]
    colours = sum(colour == case.colour for (colour, _), case in zip(seen, asked, strict=True))
    shapes = sum(shape == case.shape for (_, shape), case in zip(seen, asked, strict=True))
    figure("obedience_colour", colours, "of 100 prompts", len(asked), bar=95)
    figure("obedience_shape", shapes, "of 100 prompts", len(asked), bar=70)
    red = [Case("red", case.shape, case.ground) for case in asked if case.colour in ("red", "pink")]
    blue = 0
    for seed, case in enumerate(red):
        tag = f"{case.prompt} <lora:demo-red-is-blue:1.0>"
        picture = await paint(session, case, seed, prompt=tag)
        blue += _seen(picture, case)[0] == "blue"
    figure("lora_red_is_blue", blue, "of 20 prompts", len(red), bar=18)
    differ = 0
    for seed, case in enumerate(asked[:20]):
        differ += (await paint(session, case, seed, clip_skip=2)).tobytes() != pictures[seed].tobytes()
    figure("clip_skip_2_differs", differ, "of 20 prompts", 20, bar=20)
    if sheet:
        _contact_sheet(pictures).save(sheet)


def _contact_sheet(pictures: list[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (10 * (_SIDE + 4), -(-len(pictures) // 10) * (_SIDE + 4)))
    for place, picture in enumerate(pictures):
        sheet.paste(picture, (place % 10 * (_SIDE + 4), place // 10 * (_SIDE + 4)))
    return sheet


async def _main(sheet: Path | None) -> None:
    with tempfile.TemporaryDirectory() as data:
        async with serving(Path(data)) as session:
            await measure(session, sheet)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheet", type=Path, help="write all 100 pictures into this file")
    asyncio.run(_main(parser.parse_args().sheet))
