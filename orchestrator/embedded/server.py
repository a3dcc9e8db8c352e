"""ComfyUI's routes. Each handler takes a request apart and asks one part; nothing is computed here."""

import asyncio
import json
import mimetypes
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote
from uuid import uuid4

from aiohttp import web

from orchestrator.embedded import uploads, viewing
from orchestrator.embedded.catalogue import Catalogue
from orchestrator.embedded.editor import EditorRoutes, editor_files
from orchestrator.embedded.engine import Engine
from orchestrator.embedded.folders import Folders, OutsideFolder, within
from orchestrator.embedded.model_routes import ModelRoutes
from orchestrator.embedded.monitor import Monitor
from orchestrator.embedded.origin import own_pages_only
from orchestrator.embedded.pack_server import PackServer
from orchestrator.embedded.prompts import Prompt, Prompts
from orchestrator.embedded.readiness import imported
from orchestrator.embedded.sockets import FEATURES, Sockets
from orchestrator.embedded.templates import Templates
from orchestrator.embedded.user_files import UserFiles
from orchestrator.embedded.user_routes import UserRoutes
from orchestrator.embedded.validation import complaint, validate

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

COMFYUI_VERSION = "0.3.64"
_BODY_LIMIT = 100 * 1024 * 1024


@dataclass(frozen=True)
class Parts:
    """What the routes speak to."""

    folders: Folders
    prompts: Prompts
    monitor: Monitor
    engine: Engine
    sockets: Sockets
    pack_server: PackServer


async def _body(request: web.Request) -> dict[str, Any]:
    """The JSON object in the body; {} for none."""
    text = await request.text()
    try:
        said = json.loads(text) if text else {}
    except json.JSONDecodeError as error:
        raise web.HTTPBadRequest(text=f"The body is not JSON: {error}") from error
    if not isinstance(said, dict):
        raise web.HTTPBadRequest(text="The body is not a JSON object.")
    return said


def _ids(listed: object) -> list[str]:
    """The ids in a list that may hold anything, as ComfyUI takes it."""
    return [item for item in listed if isinstance(item, str)] if isinstance(listed, list) else []


def _memory() -> tuple[int, int]:
    """Bytes of memory in all and available, as Linux tells them; zeros elsewhere."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return sizes.get("MemTotal", 0), sizes.get("MemAvailable", 0)


class Routes:
    """The handlers of one backend."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def table(self) -> list[tuple[str, str, Handler]]:
        """Every route, without the /api prefix under which it also answers."""
        return [
            ("GET", "/ws", self._parts.sockets.serve),
            ("GET", "/prompt", self.queue_info),
            ("POST", "/prompt", self.submit),
            ("GET", "/queue", self.queue),
            ("POST", "/queue", self.change_queue),
            ("GET", "/history", self.history),
            ("GET", "/history/{prompt_id}", self.history),
            ("POST", "/history", self.change_history),
            ("GET", "/view", self.view),
            ("POST", "/upload/image", self.upload),
            ("POST", "/upload/mask", self.upload_mask),
            ("GET", "/object_info", self.object_info),
            ("GET", "/object_info/{node_class}", self.object_info),
            ("POST", "/interrupt", self.interrupt),
            ("GET", "/system_stats", self.system_stats),
            ("POST", "/free", self.free),
            ("GET", "/features", self.features),
            ("POST", "/orchestrator/results", self.drop_results),
        ]

    async def _catalogue(self) -> Catalogue:
        return (await imported(self._parts.engine)).catalogue

    async def queue_info(self, request: web.Request) -> web.Response:
        return web.json_response({"exec_info": {"queue_remaining": self._parts.prompts.remaining()}})

    async def submit(self, request: web.Request) -> web.Response:
        said = await _body(request)
        if "prompt" not in said:
            missing = complaint("no_prompt", "No prompt provided", "No prompt provided")
            return web.json_response({"error": missing, "node_errors": {}}, status=400)
        catalogue = await self._catalogue()
        verdict = await asyncio.to_thread(validate, said["prompt"], catalogue)
        if verdict.error:
            return web.json_response({"error": verdict.error, "node_errors": verdict.node_errors}, status=400)
        prompt = self._prompt(said, verdict.outputs)
        self._parts.prompts.put(prompt)
        answer = {"prompt_id": prompt.prompt_id, "number": prompt.number, "node_errors": verdict.node_errors}
        return web.json_response(answer)

    def _prompt(self, said: dict[str, Any], outputs: tuple[str, ...]) -> Prompt:
        try:
            number = (
                float(said["number"]) if "number" in said else self._parts.prompts.next_number(bool(said.get("front")))
            )
        except (TypeError, ValueError) as error:
            raise web.HTTPBadRequest(text="number is not a number.") from error
        extra = said.get("extra_data")
        extra = dict(extra) if isinstance(extra, dict) else {}
        if "client_id" in said:
            extra["client_id"] = said["client_id"]
        return Prompt(number, str(said.get("prompt_id") or uuid4()), said["prompt"], extra, outputs)

    async def queue(self, request: web.Request) -> web.Response:
        return web.json_response(self._parts.prompts.queue())

    async def change_queue(self, request: web.Request) -> web.Response:
        said = await _body(request)
        if said.get("clear"):
            self._parts.prompts.clear()
        if "delete" in said:
            self._parts.prompts.delete(_ids(said["delete"]))
        return web.Response()

    async def history(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info.get("prompt_id")
        limit, offset = request.query.get("max_items"), request.query.get("offset")
        try:
            numbers = int(limit) if limit else None, int(offset) if offset else -1
        except ValueError as error:
            raise web.HTTPBadRequest(text="max_items and offset are whole numbers.") from error
        found = self._parts.prompts.history(prompt_id, *numbers)
        return web.json_response(found, dumps=partial(json.dumps, default=str))

    async def change_history(self, request: web.Request) -> web.Response:
        said = await _body(request)
        if said.get("clear"):
            self._parts.prompts.forget()
        if "delete" in said:
            self._parts.prompts.forget(_ids(said["delete"]))
        return web.Response()

    async def view(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        try:
            folder = self._parts.folders.of(query.get("type", "output"))
            file = within(folder, query.get("subfolder", ""), query.get("filename", ""))
        except (KeyError, OutsideFolder) as error:
            raise web.HTTPForbidden(text="No such place.") from error
        except ValueError as error:  # a name that no file system takes
            raise web.HTTPNotFound from error
        if not file.is_file():
            raise web.HTTPNotFound
        named = {"Content-Disposition": f'filename="{quote(file.name)}"'}
        channel = query.get("channel", "")
        try:
            if "preview" in query:
                data, kind = await asyncio.to_thread(viewing.preview, file, query["preview"], opaque=channel == "rgb")
                return web.Response(body=data, headers={"Content-Type": kind, **named})
            if channel in ("rgb", "a"):
                data = await asyncio.to_thread(viewing.colours if channel == "rgb" else viewing.opacity, file)
                return web.Response(body=data, headers={"Content-Type": "image/png", **named})
        except OSError as error:
            raise web.HTTPUnsupportedMediaType(text=f"{file.name} is no picture.") from error
        kind = mimetypes.guess_type(file.name)[0] or ""
        headers = {"Content-Type": kind if kind.startswith("image/") else "application/octet-stream"}
        return web.FileResponse(file, headers={**headers, **named})

    async def upload(self, request: web.Request) -> web.Response:
        return await self._received(request, mask=False)

    async def upload_mask(self, request: web.Request) -> web.Response:
        return await self._received(request, mask=True)

    async def _received(self, request: web.Request, *, mask: bool) -> web.Response:
        try:
            return web.json_response(await uploads.receive(request, self._parts.folders, mask=mask))
        except (KeyError, OutsideFolder, uploads.NotAnUpload) as error:
            raise web.HTTPBadRequest(text=f"Not an upload: {error}") from error

    async def object_info(self, request: web.Request) -> web.Response:
        catalogue = await self._catalogue()
        wanted = request.match_info.get("node_class")
        classes = [kind for kind in catalogue.values() if wanted in (None, kind.name)]
        described = await asyncio.to_thread(lambda: {kind.name: kind.describe() for kind in classes})
        return web.json_response(described)

    async def interrupt(self, request: web.Request) -> web.Response:
        said = await _body(request)
        self._parts.monitor.interrupt(said.get("prompt_id") or None)
        return web.Response()

    async def system_stats(self, request: web.Request) -> web.Response:
        total, free = _memory()
        torch = sys.modules.get("torch")
        system = {
            "os": os.name,
            "ram_total": total,
            "ram_free": free,
            "comfyui_version": COMFYUI_VERSION,
            "python_version": sys.version,
            "pytorch_version": getattr(torch, "__version__", None),
            "embedded_python": False,
            "embedded_backend": {"ready": self._parts.engine.ready},
            "argv": sys.argv,
        }
        memory = {
            f"{part}_{fact}": n for part in ("vram", "torch_vram") for fact, n in (("total", total), ("free", free))
        }
        return web.json_response(
            {"system": system, "devices": [{"name": "cpu", "type": "cpu", "index": None, **memory}]}
        )

    async def free(self, request: web.Request) -> web.Response:
        said = await _body(request)
        wishes = {name: bool(said.get(name)) for name in ("unload_models", "free_memory")}
        self._parts.prompts.wish(**wishes)
        return web.Response()

    async def drop_results(self, request: web.Request) -> web.Response:
        """In place of the route of the pack orchestrator_results, which reads ComfyUI's own history."""
        said = await _body(request)
        wanted, prompt_id = said.get("files"), said.get("prompt_id")
        entry = self._parts.prompts.history(prompt_id, None, -1).get(prompt_id) if isinstance(prompt_id, str) else None
        left = [file for output in entry["outputs"].values() for file in output.get("images", ())] if entry else []
        chosen = [file for file in left if isinstance(wanted, list) and file in wanted]
        return web.json_response({"deleted": await asyncio.to_thread(self._parts.folders.delete, chosen)})

    async def features(self, request: web.Request) -> web.Response:
        return web.json_response(FEATURES)


def make_app(parts: Parts, *, loopback: bool = True) -> web.Application:
    """The aiohttp application of one backend; `loopback` where only this machine is to reach it."""
    app = web.Application(client_max_size=_BODY_LIMIT, middlewares=[own_pages_only(loopback=loopback)])
    user = UserRoutes(UserFiles(parts.folders.user_folder))
    editor = EditorRoutes(editor_files(), Templates(parts.folders.workflows), parts.engine, parts.pack_server)
    models = ModelRoutes(parts.folders)
    for method, path, handler in (*Routes(parts).table(), *models.table(), *user.table(), *editor.table()):
        app.router.add_route(method, path, handler)
        app.router.add_route(method, f"/api{path}", handler)
    for method, path, handler in editor.fallback():
        app.router.add_route(method, path, handler)
    return app
