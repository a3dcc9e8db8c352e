"""ComfyUI's own editor at this backend's address: its files, and what node packs add to it.

The editor is the package `comfyui-frontend-package`, of which nothing is changed; without it the backend works on and
says what to install. Knows no prompt and no node.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from aiohttp import web

from orchestrator.embedded.engine import Engine
from orchestrator.embedded.folders import OutsideFolder, within
from orchestrator.embedded.pack_server import PackServer
from orchestrator.embedded.packs import Packs
from orchestrator.embedded.readiness import imported
from orchestrator.embedded.templates import Templates

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger(__name__)

_PACKAGE = "comfyui_frontend_package"
_MISSING = "The editor is not installed here: pip install comfyui-frontend-package==1.27.10\n"
_FRESH = {"Cache-Control": "no-cache"}
_LASTING = {"Cache-Control": "public, max-age=31536000, immutable"}
"""For files whose names change with their contents."""
_SCRIPT = {"Content-Type": "text/javascript; charset=utf-8"}
_EXAMPLES = ("example_workflows", "example", "examples", "workflow", "workflows")
_LOCALES = ("nodeDefs", "commands", "settings")


def editor_files() -> Path | None:
    """The folder of the editor's files, None where it is not installed."""
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "static"
    return folder if (folder / "index.html").is_file() else None


class EditorRoutes:
    """The handlers. `files` is the editor's folder, if there is one."""

    def __init__(self, files: Path | None, templates: Templates, engine: Engine, pack_server: PackServer) -> None:
        self._files = files
        self._templates = templates
        self._engine = engine
        self._pack_server = pack_server

    def table(self) -> list[tuple[str, str, Handler]]:
        """The routes that answer with and without the /api prefix."""
        return [
            ("GET", "/extensions", self.extensions),
            ("GET", "/i18n", self.translations),
            ("GET", "/workflow_templates", self.examples),
            ("GET", "/workflow_templates/{pack}/{file}", self.example),
        ]

    def fallback(self) -> list[tuple[str, str, Handler]]:
        """What answers where no other route does: the routes of packs, then files."""
        return [
            ("GET", "/", self.page),
            ("GET", "/user.css", self.nothing),
            ("GET", "/favicon.ico", self.nothing),
            ("GET", "/templates/index.json", self.templates),
            ("GET", r"/templates/{name}.json", self.template),
            ("GET", r"/templates/{name}-1.png", self.thumbnail),
            ("*", "/{path:.*}", self.other),
        ]

    async def page(self, request: web.Request) -> web.StreamResponse:
        if self._files is None:
            return web.Response(status=404, text=_MISSING)
        return web.FileResponse(self._files / "index.html", headers=_FRESH)

    async def nothing(self, request: web.Request) -> web.Response:
        """What browsers ask for, and ComfyUI does not have either; a missing one is an error in the console."""
        return web.Response(status=204)

    async def templates(self, request: web.Request) -> web.Response:
        """ComfyUI's own templates are for models that do not run here."""
        return web.json_response(await asyncio.to_thread(self._templates.index), headers=_FRESH)

    async def template(self, request: web.Request) -> web.StreamResponse:
        file = await asyncio.to_thread(self._templates.file, request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        return web.FileResponse(file, headers=_FRESH)

    async def thumbnail(self, request: web.Request) -> web.Response:
        picture = await asyncio.to_thread(self._templates.thumbnail, request.match_info["name"])
        if picture is None:
            raise web.HTTPNotFound
        return web.Response(body=picture, content_type="image/png", headers=_FRESH)

    async def extensions(self, request: web.Request) -> web.Response:
        """The scripts that the editor loads: its own, and those of packs."""
        packs = (await imported(self._engine)).packs
        return web.json_response(await asyncio.to_thread(self._scripts, packs))

    def _scripts(self, packs: Packs) -> list[str]:
        found = []
        if self._files is not None:
            own = sorted((self._files / "extensions").rglob("*.js"))
            found += [f"/{script.relative_to(self._files).as_posix()}" for script in own]
        for pack, folder in packs.scripts.items():
            names = [script.relative_to(folder).as_posix() for script in sorted(folder.rglob("*.js"))]
            found += [f"/extensions/{quote(pack)}/{name}" for name in names]
        return found

    async def translations(self, request: web.Request) -> web.Response:
        packs = (await imported(self._engine)).packs
        return web.json_response(await asyncio.to_thread(_translations, packs.folders))

    async def examples(self, request: web.Request) -> web.Response:
        packs = (await imported(self._engine)).packs
        found = await asyncio.to_thread(_examples, packs.folders)
        return web.json_response({pack: sorted(files) for pack, files in found.items() if files})

    async def example(self, request: web.Request) -> web.StreamResponse:
        packs = (await imported(self._engine)).packs
        found = await asyncio.to_thread(_examples, packs.folders)
        name = request.match_info["file"].removesuffix(".json")
        file = found.get(request.match_info["pack"], {}).get(name)
        if file is None:
            raise web.HTTPNotFound
        return web.FileResponse(file, headers=_FRESH)

    async def other(self, request: web.Request) -> web.StreamResponse:
        packs = (await imported(self._engine)).packs
        answer = await self._pack_server.answer(request)
        if answer is not None:
            return answer
        path = request.match_info.get("path", "")
        file = self._file(path, packs.scripts) if request.method in ("GET", "HEAD") else None
        if file is None or not file.is_file():
            raise web.HTTPNotFound
        headers = _LASTING if path.startswith("assets/") else _FRESH
        # A browser runs no module of another type, and what a machine takes for the type of .js is not always this.
        return web.FileResponse(file, headers={**headers, **(_SCRIPT if file.suffix in (".js", ".mjs") else {})})

    def _file(self, path: str, scripts: Mapping[str, Path]) -> Path | None:
        first, *rest = path.split("/", 2)
        try:
            if first == "extensions" and len(rest) == 2 and rest[0] in scripts:
                return within(scripts[rest[0]], rest[1])
            return within(self._files, path) if self._files is not None else None
        except (OutsideFolder, ValueError):
            return None


def _examples(packs: Mapping[str, Path]) -> dict[str, dict[str, Path]]:
    """By pack and name, the workflows that it brings as examples."""
    return {
        pack: {file.stem: file for word in _EXAMPLES for file in (folder / word).glob("*.json")}
        for pack, folder in packs.items()
    }


def _translations(packs: Mapping[str, Path]) -> dict[str, Any]:
    """By language, the texts of all packs: `locales/<language>/main.json`, and other files as parts of it."""
    languages: dict[str, Any] = {}
    for folder in packs.values():
        for language in sorted((folder / "locales").glob("*/")):
            texts = _read(language / "main.json")
            texts |= {part: said for part in _LOCALES if (said := _read(language / f"{part}.json"))}
            languages[language.name] = _merged(languages.get(language.name, {}), texts)
    return languages


def _read(file: Path) -> dict[str, Any]:
    try:
        said = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as fault:
        _log.warning("%s cannot be read: %s", file, fault)
        return {}
    return said if isinstance(said, dict) else {}


def _merged(first: Any, second: Any) -> Any:
    """The second's values over the first's, object by object."""
    if not isinstance(first, dict) or not isinstance(second, dict):
        return second
    return {**first, **{name: _merged(first[name], said) if name in first else said for name, said in second.items()}}
