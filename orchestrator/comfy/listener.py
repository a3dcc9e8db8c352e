"""One backend's websocket, kept open: reads always, reconnects by itself, hands every message on at once.

Each connection has a client id of its own: under a used one, the server may remove the new socket together with the
old. Knows nothing of jobs; whoever listens must return at once, because an unread socket stalls the backend for
everybody.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from orchestrator.comfy.messages import FEATURES, Message, PreviewFrame, Unknown, parse_frame, parse_message
from orchestrator.comfy.supervision import Backoff, keep_running
from orchestrator.errors import BackendLost

log = logging.getLogger(__name__)

_LARGEST_FRAME = 64 * 2**20


class Listener:
    """The socket of one backend. `on_message` and `on_open` are called from the reading task and must not wait.

    `until_up` is awaited before each try to connect: a backend that is only just being started is not one that fails.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        headers: Mapping[str, str] | None,
        connect_seconds: float,
        backoff: Backoff,
        on_message: Callable[[Message | PreviewFrame], None],
        on_open: Callable[[], None],
        until_up: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._url = "ws" + url.rstrip("/").removeprefix("http") + "/ws?clientId="
        self._name = name
        self._headers = dict(headers or {})
        self._connect_seconds = connect_seconds
        self._backoff = backoff
        self._on_message = on_message
        self._on_open = on_open
        self.failure = ""
        """Why the newest connection or try to connect ended."""
        self._until_up = until_up
        self._client_id = uuid4().hex
        self._tried = asyncio.Event()
        self._open = asyncio.Event()
        self._closed = asyncio.Event()
        self._closed.set()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Listener":
        self._task = asyncio.create_task(
            keep_running(f'Socket to backend "{self._name}"', self._listen, self._backoff),
            name=f"listener {self._name}",
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._task = None

    @property
    def client_id(self) -> str:
        """The id under which the socket of now is known; the server knows none while the socket is closed."""
        return self._client_id

    @property
    def is_open(self) -> bool:
        """True while the socket stands."""
        return self._open.is_set()

    async def opened(self) -> None:
        """Waits until the socket stands."""
        await self._open.wait()

    async def closed(self) -> None:
        """Waits until the socket that stands now is gone."""
        await self._closed.wait()

    async def tried(self) -> None:
        """Waits until the try to connect that is under way has succeeded or failed; at once when there is none."""
        await self._tried.wait()

    async def _listen(self) -> None:
        if self._until_up is not None:
            self._tried.set()
            await self._until_up()
        self._client_id = uuid4().hex
        self._tried.clear()
        try:
            async with connect(
                self._url + self._client_id,
                additional_headers=self._headers,
                open_timeout=self._connect_seconds,
                close_timeout=1,
                max_size=_LARGEST_FRAME,
                compression=None,
                proxy=None,
            ) as socket:
                await self._read(socket)
        except (WebSocketException, TimeoutError, OSError) as error:
            self.failure = f"no connection: {str(error) or type(error).__name__}"
            raise BackendLost(self.failure) from error
        finally:
            self._open.clear()
            self._closed.set()
            self._tried.set()
        self.failure = "the backend closed the connection"
        raise BackendLost(self.failure)

    async def _read(self, socket: ClientConnection) -> None:
        self._open.set()
        self._closed.clear()
        self._tried.set()
        log.info('Connected to backend "%s"', self._name)
        self._on_open()
        await socket.send(json.dumps({"type": "feature_flags", "data": FEATURES}))
        async for frame in socket:
            message = parse_message(frame) if isinstance(frame, str) else parse_frame(frame)
            if isinstance(message, Unknown):
                log.debug('Backend "%s" sent an unknown message: %s', self._name, message.kind)
            self._on_message(message)
