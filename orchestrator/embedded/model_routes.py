"""ComfyUI's routes about model files: what kinds there are, which files, and what a file says of itself."""

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

from aiohttp import web

from orchestrator.embedded.folders import MODEL_KINDS, Folders, OutsideFolder

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HEADER_LIMIT = 1024 * 1024


class ModelRoutes:
    """The handlers."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    def table(self) -> list[tuple[str, str, Handler]]:
        """Every route, without the /api prefix."""
        return [
            ("GET", "/models", self.kinds),
            ("GET", "/models/{kind}", self.names),
            ("GET", "/experiment/models", self.places),
            ("GET", "/experiment/models/{kind}", self.files),
            ("GET", "/view_metadata/{kind}", self.metadata),
            ("GET", "/embeddings", self.embeddings),
            ("GET", "/internal/folder_paths", self.shown_places),
        ]

    async def kinds(self, request: web.Request) -> web.Response:
        return web.json_response(MODEL_KINDS)

    async def names(self, request: web.Request) -> web.Response:
        return web.json_response(await asyncio.to_thread(self._folders.model_names, _kind(request)))

    async def places(self, request: web.Request) -> web.Response:
        """The kinds that the editor's model library lists; of the folders it reads nothing."""
        return web.json_response([{"name": kind, "folders": _places(kind)} for kind in MODEL_KINDS])

    async def shown_places(self, request: web.Request) -> web.Response:
        """Where the editor says that a missing model belongs."""
        return web.json_response({kind: _places(kind) for kind in MODEL_KINDS})

    async def files(self, request: web.Request) -> web.Response:
        kind = _kind(request)
        return web.json_response(await asyncio.to_thread(self._described, kind))

    def _described(self, kind: str) -> list[dict[str, Any]]:
        listed = []
        for name in self._folders.model_names(kind):
            stat = (self._folders.models / kind / name).stat()
            facts = {"size": stat.st_size, "modified": stat.st_mtime, "created": stat.st_ctime}
            listed.append({"name": name, "pathIndex": 0, **facts})
        return listed

    async def metadata(self, request: web.Request) -> web.Response:
        try:
            file = self._folders.model(_kind(request), request.query.get("filename", ""))
            said = await asyncio.to_thread(_metadata, file)
        except (OutsideFolder, OSError, ValueError) as error:
            raise web.HTTPNotFound from error
        if said is None:
            raise web.HTTPNotFound
        return web.json_response(said)

    async def embeddings(self, request: web.Request) -> web.Response:
        names = await asyncio.to_thread(self._folders.model_names, "embeddings")
        return web.json_response([name.removesuffix(".safetensors") for name in names])


def _places(kind: str) -> list[str]:
    # Enough to find the folder, and not where on this machine it lies, as ComfyUI would tell whoever asks.
    return [f"models/{kind}"]


def _kind(request: web.Request) -> str:
    kind = request.match_info["kind"]
    if kind not in MODEL_KINDS:
        raise web.HTTPNotFound
    return kind


def _metadata(file: Path) -> Any:
    """`__metadata__` of a safetensors file; None without, or past a megabyte. Raises ValueError."""
    with file.open("rb") as opened:
        start = opened.read(8)
        if len(start) < 8 or (size := struct.unpack("<Q", start)[0]) > _HEADER_LIMIT:
            return None
        header = json.loads(opened.read(size))
    return header.get("__metadata__") if isinstance(header, dict) else None
