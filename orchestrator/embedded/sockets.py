"""Websockets to clients: what happens is said to the one who asked, or to all. Knows no prompt and no node.

Messages may be posted from any thread. A client that does not read is cut off instead of stalling the others.
"""

import asyncio
import io
import json
import logging
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from aiohttp import WSMsgType, web

from orchestrator.embedded.monitor import Look

_log = logging.getLogger(__name__)

_BACKLOG = 2000
_SEND_DEADLINE = 30.0
_HEARTBEAT = 30.0
_PREVIEW_SECONDS = 0.1
_PREVIEW_BACKLOG = 20
_PREVIEW_QUALITY = 80


class _Client:
    """One socket, and the task's queue of what is still to be sent on it."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.reads_metadata = False
        """Whether it has said that it reads previews with metadata."""
        self._waiting: asyncio.Queue[str | bytes] = asyncio.Queue(_BACKLOG)

    @property
    def is_behind(self) -> bool:
        """True while it has so much to read that previews are better left out."""
        return self._waiting.qsize() > _PREVIEW_BACKLOG

    def post(self, text: str | bytes) -> bool:
        """False when the client has stopped reading."""
        if self._waiting.full():
            return False
        self._waiting.put_nowait(text)
        return True

    async def send_all(self) -> None:
        """Sends until cancelled or the socket fails."""
        try:
            while True:
                text = await self._waiting.get()
                async with asyncio.timeout(_SEND_DEADLINE):
                    await (self.socket.send_str(text) if isinstance(text, str) else self.socket.send_bytes(text))
        except (ConnectionError, TimeoutError) as error:
            _log.info("A websocket client is gone: %s", error)


class Sockets:
    """Every connected client by its id. Lives on the event loop; `post` may be called from elsewhere."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, greet: Callable[[str], list[tuple[str, Mapping[str, Any]]]]
    ) -> None:
        self._loop = loop
        self._greet = greet
        self._clients: dict[str, _Client] = {}
        self._shown = 0.0

    def post(self, kind: str, data: Mapping[str, Any], client: str | None = None) -> None:
        """Queues a message to one client (dropped when it is not connected) or, for None, to all."""
        text = json.dumps({"type": kind, "data": data}, default=str)  # what a pack shows may be anything
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, text, client)

    def show(self, look: Look, metadata: Mapping[str, Any], client: str | None) -> None:
        """Looks, and queues the picture to one client; not too often, and only if that is there and keeps up."""
        found = self._clients.get(client) if client is not None else None
        now = time.monotonic()
        if found is None or found.is_behind or now - self._shown < _PREVIEW_SECONDS or self._loop.is_closed():
            return
        self._shown = now
        file = io.BytesIO()
        look().save(file, "JPEG", quality=_PREVIEW_QUALITY)
        frame = _described(metadata, file.getvalue()) if found.reads_metadata else _plain(file.getvalue())
        self._loop.call_soon_threadsafe(self._deliver, frame, client)

    def _deliver(self, text: str | bytes, client: str | None) -> None:
        names = list(self._clients) if client is None else [client]
        for name in names:
            found = self._clients.get(name)
            if found is not None and not found.post(text):
                _log.warning("Websocket client %s does not read; cut off", name)
                del self._clients[name]

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """One client from connect to disconnect. A second socket under an id takes the first one's place."""
        socket = web.WebSocketResponse(heartbeat=_HEARTBEAT)
        await socket.prepare(request)
        name = request.query.get("clientId") or uuid4().hex
        client = self._clients[name] = _Client(socket)
        for kind, data in self._greet(name):
            client.post(json.dumps({"type": kind, "data": data}))
        sending = asyncio.create_task(client.send_all())
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    self._answer(client, message.data)
        finally:
            sending.cancel()
            if self._clients.get(name) is client:
                del self._clients[name]
        return socket

    def _answer(self, client: _Client, text: str) -> None:
        """Clients may state their features first; ours are those of `GET /features`."""
        try:
            said = json.loads(text)
        except json.JSONDecodeError:
            return
        if isinstance(said, dict) and said.get("type") == "feature_flags":
            flags = said.get("data")
            client.reads_metadata = isinstance(flags, dict) and flags.get("supports_preview_metadata") is True
            client.post(json.dumps({"type": "feature_flags", "data": FEATURES}))

    async def close(self) -> None:
        """Closes every socket, each within a second."""
        clients = list(self._clients.values())
        closing = [asyncio.wait_for(client.socket.close(), 1.0) for client in clients]
        await asyncio.gather(*closing, return_exceptions=True)


FEATURES = {"supports_preview_metadata": True, "max_upload_size": 104857600}


def _plain(jpeg: bytes) -> bytes:
    """ComfyUI's binary message 1: a preview, of format 1 (JPEG)."""
    return struct.pack(">II", 1, 1) + jpeg


def _described(metadata: Mapping[str, Any], jpeg: bytes) -> bytes:
    """ComfyUI's binary message 4: a preview behind a JSON object that says whose it is."""
    said = json.dumps({**metadata, "image_type": "image/jpeg"}).encode()
    return struct.pack(">II", 4, len(said)) + said + jpeg
