"""A look at a file's beginning before it is fetched: the first megabyte tells what the other gigabytes are.

A UNet's header is 100 to 400 KB of JSON. Must not know what the caller wants of it.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from orchestrator.errors import DownloadFailed, ModelError, ModelUnavailable, ModelUnsafe
from orchestrator.models import header
from orchestrator.models.civitai import Version, VersionFile
from orchestrator.models.client import CivitaiClient
from orchestrator.models.delivery import Expired
from orchestrator.models.flight import SingleFlight
from orchestrator.models.memory import Memory
from orchestrator.models.nature import Nature, nature_of

_FIRST_BYTES = 1 << 20
_SIZE_SLACK = 1024
"""Bytes; Civitai gives sizes in KiB."""
_SECONDS = 3600.0


@dataclass(frozen=True)
class Looked:
    """What a file's beginning tells: its nature, and how many bytes the whole file has by it."""

    nature: Nature
    size: int


class Looker:
    """Reads beginnings through a client; each at most once an hour."""

    def __init__(self, client: CivitaiClient) -> None:
        self._client = client
        self._seen: Memory[tuple[int, int], Looked] = Memory(_SECONDS)
        self._looking: SingleFlight[tuple[int, int], Looked] = SingleFlight()

    async def look(self, version: Version, file: VersionFile) -> Looked:
        """Raises ModelUnsafe if it is no safetensors file, DownloadFailed if it is not the one promised, and whatever
        the client refuses with."""
        key = (version.id, file.id)
        if (known := self._seen.recall(key)) is not None:
            return known
        try:
            looked = await self._looking.run(key, lambda: self._read(version, file))
        except ModelError as error:
            self._seen.keep_refusal(key, error)
            raise
        self._seen.keep(key, looked)
        return looked

    async def _read(self, version: Version, file: VersionFile) -> Looked:
        what = f"File {file.id} of Civitai's version {version.id}"
        start = await self._beginning(version, file, _FIRST_BYTES)
        try:
            end = header.LENGTH_BYTES + header.header_length(start, header.FETCHED_LIMIT)
            if len(start) < end:
                start = await self._beginning(version, file, end)
            looked = await asyncio.to_thread(_looked, start[header.LENGTH_BYTES : end])
        except header.NotSafetensors as error:
            raise ModelUnsafe(f"{what} is not the safetensors file that it is said to be: {error}") from error
        said = file.approximate_bytes
        if said is not None and abs(said - looked.size) > _SIZE_SLACK:
            raise DownloadFailed(f"{what} would be {looked.size} bytes long, and Civitai says about {said}")
        return looked

    async def _beginning(self, version: Version, file: VersionFile, count: int) -> bytes:
        """The first `count` bytes, or all if there are fewer; tried again while what fails may pass."""
        patience = self._client.patience
        for attempt in range(patience.tries):
            try:
                async with self._client.one_try(), self._client.open_file(version.id, file.id, end=count) as arrival:
                    return await _first(arrival.pieces, count)
            except Expired:
                continue
            except ModelUnavailable:
                if attempt + 1 == patience.tries or self._client.quiet_seconds > patience.longest_wait:
                    raise
                await asyncio.sleep(max(patience.wait(attempt), self._client.quiet_seconds))
        raise ModelUnavailable("Civitai's delivery host takes none of the URLs that Civitai signs for it")


def _looked(text: bytes) -> Looked:
    head, length = header.parse_whole(text)
    return Looked(nature_of(head), header.LENGTH_BYTES + len(text) + length)


async def _first(pieces: AsyncIterator[bytes], count: int) -> bytes:
    read = bytearray()
    async for piece in pieces:
        read += piece
        if len(read) >= count:
            break
    return bytes(read[:count])
