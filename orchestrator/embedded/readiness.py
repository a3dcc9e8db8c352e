"""Waits for what is imported while the server already answers: node classes and packs."""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from orchestrator.embedded.catalogue import Catalogue
from orchestrator.embedded.engine import Engine
from orchestrator.embedded.packs import Packs

_SECONDS = 60.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Imported:
    """The node classes, and what packs bring besides."""

    catalogue: Catalogue
    packs: Packs


async def imported(engine: Engine) -> Imported:
    """Both, as soon as they are there; 503 when that takes more than a minute."""
    deadline = asyncio.get_running_loop().time() + _SECONDS
    while (catalogue := engine.catalogue) is None or (packs := engine.packs) is None:
        if asyncio.get_running_loop().time() > deadline:
            raise web.HTTPServiceUnavailable(text="The nodes are still being imported.", headers={"Retry-After": "5"})
        await asyncio.sleep(_POLL_SECONDS)
    return Imported(catalogue, packs)
