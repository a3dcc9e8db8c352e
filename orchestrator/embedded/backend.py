"""Joins the parts of one backend and owns them: folders, queue, sockets, worker and routes."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.embedded.engine import Engine, Setting
from orchestrator.embedded.monitor import Monitor
from orchestrator.embedded.pack_server import PackServer
from orchestrator.embedded.prompts import Prompts
from orchestrator.embedded.server import Parts, make_app
from orchestrator.embedded.sockets import Sockets


def _status(remaining: int) -> dict[str, Any]:
    return {"status": {"exec_info": {"queue_remaining": remaining}}}


class Backend:
    """One backend, on the running event loop. `broken` is called, from the worker, when the worker cannot go on.

    `loopback` says that only this machine is to reach it.
    """

    def __init__(self, setting: Setting, broken: Callable[[], None], *, loopback: bool = True) -> None:
        setting.folders.prepare()
        monitor = Monitor()
        self._sockets = Sockets(asyncio.get_running_loop(), self._greeting)
        self._prompts = Prompts(self._announce)
        pack_server = PackServer(self._sockets.post)
        setting = replace(setting, server=pack_server.module())
        self._engine = Engine(setting, self._prompts, monitor, self._sockets.post, broken, self._sockets.show)
        parts = Parts(setting.folders, self._prompts, monitor, self._engine, self._sockets, pack_server)
        self.app = make_app(parts, loopback=loopback)
        """Serve this, between `start` and `close`."""

    def start(self) -> None:
        """Starts the worker, which imports the nodes while the routes already answer."""
        self._engine.start()

    async def close(self) -> None:
        """Says good-bye to clients, interrupts what runs and waits for the worker, a bounded time each."""
        await self._sockets.close()
        await asyncio.to_thread(self._engine.stop)

    def _announce(self, remaining: int) -> None:
        self._sockets.post("status", _status(remaining))

    def _greeting(self, client: str) -> list[tuple[str, Mapping[str, Any]]]:
        """What a new socket hears first; a returning client also hears which of its nodes runs."""
        first: tuple[str, Mapping[str, Any]] = ("status", {**_status(self._prompts.remaining()), "sid": client})
        running = self._engine.running_node
        return [first, ("executing", {"node": running[1]})] if running and running[0] == client else [first]
