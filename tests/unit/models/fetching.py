"""A process that fetches one version to a shelf: `python -m tests.unit.models.fetching URL CDN FOLDER VERSION`."""

import asyncio
import sys
from pathlib import Path

from orchestrator.models.client import CivitaiClient
from orchestrator.models.download import Downloader
from orchestrator.models.finder import ModelFinder, Supply
from orchestrator.models.look import Looker
from orchestrator.models.room import Room
from orchestrator.models.shelf import Shelf


async def main(url: str, cdn: str, folder: str, version: str) -> None:
    root = Path(folder)
    shelf = Shelf(root)
    async with CivitaiClient(url, [url, cdn]) as client:
        downloader = Downloader(client, shelf, Room(root, 10**12, 0))
        finder = ModelFinder(shelf, None, Supply(client, Looker(client), downloader))
        file = await finder.checkpoint(version, "model", ("sd15",))
        print("found", flush=True)
        async with finder.hold([file], lambda _: None):
            print("held", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
