"""The parts under test, opened and closed."""

from collections.abc import AsyncIterator

import pytest

from orchestrator.images.source import PictureSource
from orchestrator.images.threads import PictureThreads


@pytest.fixture
async def threads() -> AsyncIterator[PictureThreads]:
    async with PictureThreads(2) as running:
        yield running


@pytest.fixture
async def source(threads: PictureThreads) -> AsyncIterator[PictureSource]:
    """As strangers meet it: no address that is not public."""
    async with PictureSource(threads, timeout=2) as opened:
        yield opened


@pytest.fixture
async def local_source(threads: PictureThreads) -> AsyncIterator[PictureSource]:
    """With loopback let through, for servers of the tests."""
    async with PictureSource(
        threads, timeout=1, max_bytes=200_000, max_pixels=1_000_000, allow_networks=["127.0.0.1/32"]
    ) as opened:
        yield opened
