"""The part of ComfyUI's module `server` that node packs use: they put routes of their own on `PromptServer.instance`.

Packs are imported while the server already answers, and its table of routes is closed by then; so their requests come
to one handler, which looks for them in a table of their own.
"""

from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol

from aiohttp import web


class Post(Protocol):
    """Sends a message to one client, or to all."""

    def __call__(self, kind: str, data: Mapping[str, Any], client: str | None = None) -> None: ...


class PackServer:
    """Collects the packs' routes while they are imported, and finds them afterwards."""

    def __init__(self, post: Post) -> None:
        self._routes = web.RouteTableDef()
        self._post = post
        self._table: web.UrlDispatcher | None = None

    def module(self) -> ModuleType:
        """What a pack gets for `import server`."""
        module = ModuleType("server", "Stand-in of orchestrator.embedded for ComfyUI's module of this name.")
        instance = SimpleNamespace(routes=self._routes, send_sync=self._post)
        module.__dict__["PromptServer"] = SimpleNamespace(instance=instance)
        return module

    async def answer(self, request: web.Request) -> web.StreamResponse | None:
        """The answer of the pack's route for this request, None when no pack has one. After the import of the packs."""
        if self._table is None:
            self._table = self._dispatcher()
        found = await self._table.resolve(request)
        if isinstance(found.http_exception, web.HTTPNotFound):
            return None
        if found.http_exception is not None:
            raise found.http_exception
        request.match_info.clear()
        request.match_info.update(found)
        answer = await found.handler(request)
        assert isinstance(answer, web.StreamResponse)
        return answer

    def _dispatcher(self) -> web.UrlDispatcher:
        table = web.UrlDispatcher()
        for route in self._routes:
            if isinstance(route, web.RouteDef):
                table.add_route(route.method, route.path, route.handler)
                table.add_route(route.method, f"/api{route.path}", route.handler)
        return table
