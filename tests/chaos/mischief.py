"""What goes wrong at the backends while the jobs run, drawn at random from a seed."""

import asyncio
import hashlib
import io
import random
from collections.abc import Sequence

from PIL import Image

from tests.fakes.comfyui import FakeComfyUI
from tests.fakes.engine import Json

_REQUESTS = ("POST /prompt", "GET /history", "GET /queue", "GET /view", "POST /upload")


def colour_of(seed: int) -> tuple[int, int, int]:
    """The picture of a job of that seed is of this colour all over, so that a swapped picture shows."""
    red, green, blue = hashlib.sha256(str(seed).encode()).digest()[:3]
    return red, green, blue


def paint(prompt: Json) -> bytes:
    """The picture that a backend makes of a prompt: its seed's colour."""
    inputs = next(node["inputs"] for node in prompt.values() if node["_meta"]["title"] == "Sampler")
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour_of(inputs.get("noise_seed", inputs.get("seed")))).save(file, "PNG")
    return file.getvalue()


async def mischief(fakes: Sequence[FakeComfyUI], draw: random.Random, over: asyncio.Event) -> None:
    """Goes on until it is over; what it has begun it ends, for a backend that is not started again stays away."""
    while not over.is_set():
        await asyncio.sleep(draw.uniform(0.02, 0.25))
        fake = draw.choice(fakes)
        match draw.randrange(12):
            case 0:
                await fake.restart()
            case 1 | 2:
                fake.drop_sockets()
            case 3 | 4:
                fake.faults.fail(draw.choice(_REQUESTS), draw.choice((0, 500, 502)), draw.randint(1, 3))
            case 5 | 6:
                fake.faults.fail(draw.choice(_REQUESTS), draw.choice((0, 500)), after_acting=True)
            case 7:
                fake.faults.swallow_prompts = 1
            case 8:
                fake.faults.mute = draw.choice((frozenset(), frozenset({"*"}), frozenset({"status"})))
            case 9:
                fake.faults.late_history = draw.choice((0.0, 0.0, 0.2))
            case 10:
                fake.faults.delays = draw.choice(({}, {draw.choice(_REQUESTS): 0.3}))
            case 11:
                fake.interrupt()


def calm(fakes: Sequence[FakeComfyUI]) -> None:
    """No more faults: what is left to do can be done."""
    for fake in fakes:
        fake.faults.answers.clear()
        fake.faults.after.clear()
        fake.faults.delays = {}
        fake.faults.mute, fake.faults.late_history, fake.faults.swallow_prompts = frozenset(), 0.0, 0
