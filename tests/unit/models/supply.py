"""A finder on a shelf of its own, supplied by the stand-in for Civitai."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from orchestrator.models.client import CivitaiClient
from orchestrator.models.connection import Patience
from orchestrator.models.download import Downloader
from orchestrator.models.finder import ModelFinder, Supply
from orchestrator.models.look import Looker
from orchestrator.models.names import Names
from orchestrator.models.room import Room
from orchestrator.models.shelf import Shelf
from orchestrator.models.speed import Progress
from tests.fakes.civitai import FakeCivitai, model_file
from tests.integration.models import SD15, SD15_LORA

QUICK = Patience(tries=4, first_wait=0.01, longest_wait=2.0, stall=3.0)
BOTH = ("sd15", "sdxl")
FILLING = 3_000_000


def checkpoint_file(filling: int = FILLING, mark: str = "") -> bytes:
    """A file with the marker tensors of an SD1.5 checkpoint; another `mark` makes other bytes."""
    return model_file(SD15, filling, {"mark": mark})


def lora_file(mark: str = "") -> bytes:
    return model_file(SD15_LORA, 1000, {"mark": mark})


@asynccontextmanager
async def supplied(
    fake: FakeCivitai,
    root: Path,
    *,
    names: Names | None = None,
    budget: int = 10**12,
    floor: int = 0,
    patience: Patience = QUICK,
    room_patience: float = 5.0,
    key: str = "",
) -> AsyncIterator[ModelFinder]:
    shelf = Shelf(root)
    async with CivitaiClient(fake.url, fake.hosts, key=key, patience=patience) as client:
        room = Room(root, budget, floor)
        downloader = Downloader(client, shelf, room, room_patience=room_patience, source=fake.url)
        yield ModelFinder(shelf, names, Supply(client, Looker(client), downloader))


async def fetch(finder: ModelFinder, name: str, told: list[Progress] | None = None) -> Path:
    """The checkpoint on the shelf; released at once."""
    file = await finder.checkpoint(name, "model", BOTH)
    async with finder.hold([file], (told if told is not None else []).append):
        assert file.place.file.is_file()
    return file.place.file
