"""The websockets of a fake ComfyUI, with ComfyUI's habits and the faults that concern them."""

import asyncio
import json
import uuid
from collections.abc import Callable
from contextlib import suppress

from aiohttp import WSMsgType, web

from tests.fakes.engine import Json
from tests.fakes.faults import Faults


class Sockets:
    """Every socket that stands. `remaining` tells how many jobs run or wait."""

    def __init__(self, faults: Faults, remaining: Callable[[], int]) -> None:
        self.by_client: dict[str, web.WebSocketResponse] = {}
        self.client_ids: list[str] = []
        self.said: list[Json] = []
        """What clients have said."""
        self.counting = False
        self._faults = faults
        self._remaining = remaining
        self._sent = 0
        self._open: dict[web.WebSocketResponse, asyncio.Transport] = {}
        self._frames: set[asyncio.Task[None]] = set()

    async def send(self, kind: str, data: Json, client_id: str | None) -> None:
        """A message to one client's socket, dropped when there is none; to all for None."""
        if self.counting:
            self._sent += 1
            if self._sent == self._faults.drop_at:
                self.drop()
                return
        if {kind, "*"} & self._faults.mute:
            return
        text = json.dumps({"type": kind, "data": data})
        listening = list(self.by_client.values()) if client_id is None else [self.by_client.get(client_id)]
        for socket in listening:
            if socket is not None and not socket.closed:
                with suppress(ConnectionError):
                    await socket.send_str(text)

    def send_bytes(self, data: bytes) -> None:
        """A binary frame to every socket."""
        for socket in self.by_client.values():
            task = asyncio.create_task(socket.send_bytes(data))
            self._frames.add(task)
            task.add_done_callback(self._frames.discard)

    def drop(self) -> None:
        """Cuts every socket without a word."""
        for transport in tuple(self._open.values()):
            transport.abort()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """GET /ws."""
        assert isinstance(request.transport, asyncio.Transport)
        transport = request.transport
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        client_id = request.query.get("clientId") or uuid.uuid4().hex
        self.client_ids.append(client_id)
        self.by_client[client_id] = socket
        self._open[socket] = transport
        try:
            with suppress(ConnectionError):
                await self._greet(socket, client_id)
                async for message in socket:
                    if message.type == WSMsgType.ERROR:
                        break
                    if message.type == WSMsgType.TEXT:
                        self.said.append(message.json())
        finally:
            del self._open[socket]
            # As ComfyUI does: whichever socket stands under this id by now.
            self.by_client.pop(client_id, None)
        return socket

    async def _greet(self, socket: web.WebSocketResponse, client_id: str) -> None:
        remaining = self._remaining()
        hello = {"status": {"exec_info": {"queue_remaining": remaining}}, "sid": client_id}
        await socket.send_json({"type": "status", "data": hello})
        if remaining:
            await socket.send_json({"type": "executing", "data": {"node": "1"}})
