"""A proxy that loses what it carries, on cue: a connection breaks after a request was acted on, or within a stream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_GULP = 1 << 16


@dataclass
class CuttingProxy:
    """What it does to the next connections."""

    port: int
    """Of the service behind it."""
    url: str = ""
    swallow_answers: int = 0
    """So many connections are cut when the service begins to answer."""
    cut_after: list[int] = field(default_factory=list)
    """Bytes of the answer after which each of the next connections is cut."""
    connections: int = 0

    open: set[asyncio.Task[None]] = field(default_factory=set)

    def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection that somebody made."""
        task = asyncio.create_task(self.carry(reader, writer))
        self.open.add(task)
        task.add_done_callback(self.open.discard)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        behind, to_service = await asyncio.open_connection("127.0.0.1", self.port)
        upwards = asyncio.create_task(_pump(reader, to_service))
        left = None
        if self.swallow_answers:
            self.swallow_answers -= 1
            left = 0
        elif self.cut_after:
            left = self.cut_after.pop(0)
        try:
            while piece := await behind.read(_GULP):
                if left is not None and len(piece) > left:
                    writer.write(piece[:left])
                    await writer.drain()
                    break
                left = None if left is None else left - len(piece)
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            upwards.cancel()
            await asyncio.wait({upwards})
            to_service.close()
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_GULP):
        writer.write(piece)
        await writer.drain()


@asynccontextmanager
async def cutting_proxy(port: int) -> AsyncIterator[CuttingProxy]:
    """Listens in front of the service at that port of this machine."""
    proxy = CuttingProxy(port)
    server = await asyncio.start_server(proxy.take, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in proxy.open:
            task.cancel()
        await asyncio.gather(*proxy.open, return_exceptions=True)
