"""ComfyUI's routes for what the editor keeps for its user: `/users`, `/settings`, `/userdata`. One user, no log-in."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from urllib.parse import unquote

from aiohttp import web

from orchestrator.embedded.folders import OutsideFolder
from orchestrator.embedded.user_files import FILE_LIMIT, NoRoom, UserFile, UserFiles

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger(__name__)

_UNWRITTEN = {
    "user.css": b"",
    "comfy.templates.json": b"[]",
    "workflows/.index.json": b'{"favorites": []}',
}
"""What the editor asks for before it has ever been kept; a missing one is an error in the browser's console."""
_KINDS = {".json": "application/json", ".css": "text/css", ".txt": "text/plain"}
"""What a browser is told that a file is; others are bytes, so that none runs as a page of this address."""


async def _body(request: web.Request) -> bytes:
    """The body, which may be as large as a file; 413 above."""
    parts, size = [], 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > FILE_LIMIT:
            raise web.HTTPRequestEntityTooLarge(FILE_LIMIT, size)
        parts.append(part)
    return b"".join(parts)


async def _json(request: web.Request) -> Any:
    try:
        return json.loads(await _body(request))
    except (ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(text=f"The body is not JSON: {error}") from error


def _says(request: web.Request, name: str, otherwise: bool) -> bool:
    return request.query.get(name, str(otherwise)).lower() == "true"


def _named(request: web.Request, name: str) -> str:
    """A file's name out of the address; the editor escapes its slashes, and others do so twice."""
    return unquote(request.match_info[name])


def _told(request: web.Request, file: UserFile) -> web.Response:
    return web.json_response(file.described() if _says(request, "full_info", False) else file.name)


async def _asked(work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Does the file work in a thread; what is wrong with the name or the size becomes the status it has at ComfyUI."""
    try:
        return await asyncio.to_thread(work, *arguments, **options)
    except OutsideFolder as fault:
        raise web.HTTPForbidden(text=str(fault)) from fault
    except (FileNotFoundError, NotADirectoryError) as fault:
        raise web.HTTPNotFound(text=str(fault)) from fault
    except FileExistsError as fault:
        raise web.HTTPConflict(text=str(fault)) from fault
    except NoRoom as fault:
        raise web.HTTPInsufficientStorage(text=str(fault)) from fault
    except OSError as fault:
        _log.warning("A user's file could not be kept: %s", fault)
        raise web.HTTPBadRequest(text="The file cannot be kept under this name.") from fault


class UserRoutes:
    """The handlers; writes of settings come one after another."""

    def __init__(self, files: UserFiles) -> None:
        self._files = files
        self._settings_lock = asyncio.Lock()

    def table(self) -> list[tuple[str, str, Handler]]:
        """Every route, without the /api prefix."""
        return [
            ("GET", "/users", self.users),
            ("POST", "/users", self.new_user),
            ("GET", "/settings", self.settings),
            ("GET", "/settings/{id}", self.setting),
            ("POST", "/settings", self.change_settings),
            ("POST", "/settings/{id}", self.change_setting),
            ("GET", "/userdata", self.listed),
            ("GET", "/v2/userdata", self.entries),
            ("GET", "/userdata/{file}", self.read),
            ("POST", "/userdata/{file}", self.write),
            ("DELETE", "/userdata/{file}", self.delete),
            ("POST", "/userdata/{file}/move/{target}", self.move),
        ]

    async def users(self, request: web.Request) -> web.Response:
        return web.json_response({"storage": "server", "migrated": True})

    async def new_user(self, request: web.Request) -> web.Response:
        return web.json_response({"error": "This backend has one user."}, status=400)

    async def settings(self, request: web.Request) -> web.Response:
        return web.json_response(await _asked(self._files.settings))

    async def setting(self, request: web.Request) -> web.Response:
        return web.json_response((await _asked(self._files.settings)).get(request.match_info["id"]))

    async def change_settings(self, request: web.Request) -> web.Response:
        changes = await _json(request)
        if not isinstance(changes, dict):
            raise web.HTTPBadRequest(text="The body is not a JSON object.")
        return await self._change(changes)

    async def change_setting(self, request: web.Request) -> web.Response:
        return await self._change({request.match_info["id"]: await _json(request)})

    async def _change(self, changes: dict[str, Any]) -> web.Response:
        async with self._settings_lock:
            await _asked(self._files.change_settings, changes)
        return web.Response()

    async def listed(self, request: web.Request) -> web.Response:
        if not (folder := request.query.get("dir")):
            raise web.HTTPBadRequest(text="Directory not provided")
        files: list[UserFile] = await _asked(self._files.listed, folder, recursive=_says(request, "recurse", False))
        if _says(request, "full_info", False):
            return web.json_response([file.described() for file in files])
        if _says(request, "split", False):
            return web.json_response([[file.name, *file.name.split("/")] for file in files])
        return web.json_response([file.name for file in files])

    async def entries(self, request: web.Request) -> web.Response:
        found: list[UserFile] = await _asked(self._files.entries, unquote(request.query.get("path", "")))
        listed = []
        for entry in found:
            facts = {} if entry.is_folder else {"size": entry.size, "modified": entry.modified}
            kind = "directory" if entry.is_folder else "file"
            listed.append({"name": entry.name.rsplit("/", 1)[-1], "path": entry.name, "type": kind, **facts})
        return web.json_response(listed)

    async def read(self, request: web.Request) -> web.StreamResponse:
        name = _named(request, "file")
        path = await _asked(self._files.path, name)
        if not path.is_file():
            if name not in _UNWRITTEN:
                raise web.HTTPNotFound
            return web.Response(body=_UNWRITTEN[name], content_type=_KINDS[path.suffix])
        headers = {"Content-Type": _KINDS.get(path.suffix.lower(), "application/octet-stream")}
        return web.FileResponse(path, headers={**headers, "X-Content-Type-Options": "nosniff"})

    async def write(self, request: web.Request) -> web.Response:
        data = await _body(request)
        overwrite = _says(request, "overwrite", True)
        return _told(request, await _asked(self._files.write, _named(request, "file"), data, overwrite=overwrite))

    async def delete(self, request: web.Request) -> web.Response:
        await _asked(self._files.delete, _named(request, "file"))
        return web.Response(status=204)

    async def move(self, request: web.Request) -> web.Response:
        names = _named(request, "file"), _named(request, "target")
        return _told(request, await _asked(self._files.move, *names, overwrite=_says(request, "overwrite", True)))
