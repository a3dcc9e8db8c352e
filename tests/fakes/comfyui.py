"""A fake ComfyUI that speaks the wire: HTTP API and websocket on a real port, jobs made up or played from a recording.

    async with FakeComfyUI() as fake: ...    # fake.url
    python -m tests.fakes.comfyui --port 8188 --run-seconds 2 --steps 20

It keeps ComfyUI's habits that matter: a job's events go to the submitting client's socket alone; `status` goes to all;
a socket's end removes whatever socket is known under its id; history and queue live in memory.
"""

import argparse
import asyncio
import gzip
import json
import signal
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.fakes.editor import FakeEditor
from tests.fakes.engine import Engine, Json
from tests.fakes.faults import Faults
from tests.fakes.recorded import Recorded, Recording
from tests.fakes.scripted import Scripted
from tests.fakes.sockets import Sockets
from tests.fakes.stock import form_fields, known_object_info, plain_png

__all__ = ["FakeComfyUI", "Seen", "plain_png"]

OUTPUT_FOLDER = "orchestrator/out"


@dataclass(frozen=True)
class Seen:
    """One request that came in."""

    request: str
    body: Any


class FakeComfyUI:
    """Runs while its `async with` block lasts; `stop`, `start` and `restart` within it keep the port.

    `catalog_json` is decoded `/object_info` (default: ComfyUI 0.3.64's and our node pack's), `result_png` what every
    job makes (unless `paint` makes it of the prompt), `run_seconds` how long each takes, `steps` how many its sampler
    counts. With `recording`, it plays that session instead of making jobs up. Without `drops_results` it is one that
    has not loaded our pack for that.
    """

    def __init__(
        self,
        *,
        catalog_json: Json | None = None,
        result_png: bytes | None = None,
        paint: Callable[[Json], bytes] | None = None,
        run_seconds: float = 0.0,
        steps: int = 0,
        recording: Recording | None = None,
        faults: Faults | None = None,
        drops_results: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.catalog_json = catalog_json if catalog_json is not None else known_object_info()
        self.result_png = result_png if result_png is not None else plain_png()
        self.paint = paint
        self.run_seconds = run_seconds
        self.steps = steps
        self.recording = recording
        self.faults = faults or Faults()
        self.drops_results = drops_results
        self.host, self.port = host, port
        self.seen: list[Seen] = []
        self.prompts: list[Json] = []
        self.files: dict[tuple[str, str, str], bytes] = {}
        self.editor = FakeEditor()
        self._sockets = Sockets(self.faults, self._remaining)
        self._engine: Engine | None = None
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "FakeComfyUI":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def client_ids(self) -> list[str]:
        """Of every socket that was ever opened."""
        return self._sockets.client_ids

    @property
    def said(self) -> list[Json]:
        """What clients have said on their sockets."""
        return self._sockets.said

    @property
    def sockets(self) -> dict[str, web.WebSocketResponse]:
        """The sockets that stand, by client id."""
        return self._sockets.by_client

    def requests(self, request: str) -> list[Any]:
        """The bodies of the requests of this kind, "POST /prompt"."""
        return [seen.body for seen in self.seen if seen.request == request]

    async def start(self) -> None:
        """Listens, knowing nothing of an earlier life."""
        self._engine = self._make_engine()

        @web.middleware
        async def meddle(request: web.Request, handler: Any) -> web.StreamResponse:
            return await self._meddle(request, handler)

        app = web.Application(client_max_size=2**27, middlewares=[meddle])
        app.add_routes(self.editor.routes())
        app.add_routes(
            [
                web.get("/ws", self._sockets.serve),
                web.post("/prompt", self._prompt),
                web.get("/queue", self._queue),
                web.post("/queue", self._delete),
                web.get("/history/{id}", self._history),
                web.post("/interrupt", self._interrupt),
                web.post("/upload/image", self._upload),
                web.get("/view", self._view),
                web.get("/object_info", self._object_info),
                web.get("/system_stats", self._system_stats),
                web.post("/free", self._free),
                web.post("/history", self._forget),
                *([web.post("/orchestrator/results", self._drop_results)] if self.drops_results else []),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Refuses connections, cuts those that stand, forgets queue, history and files."""
        if self._engine:
            await self._engine.close()
        self.drop_sockets()
        if self._runner:
            await self._runner.cleanup()
        self._engine = self._runner = None
        self.files.clear()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def drop_sockets(self) -> None:
        """Cuts every socket without a word."""
        self._sockets.drop()

    def interrupt(self) -> None:
        """As if somebody had pressed the button in the editor."""
        self.engine.interrupt(None)

    @property
    def engine(self) -> Engine:
        assert self._engine is not None
        return self._engine

    def _make_engine(self) -> Engine:
        if self.recording:
            return Recorded(self.recording, self._sockets.send, self._sockets.send_bytes, self._keep_picture)
        return Scripted(
            self._sockets.send,
            self.faults,
            frozenset(self.catalog_json),
            self._has_file,
            self._keep_picture,
            self.run_seconds,
            self.steps,
        )

    def _remaining(self) -> int:
        queue = self.engine.queue()
        return len(queue["queue_running"]) + len(queue["queue_pending"])

    async def _meddle(self, request: web.Request, handler: Any) -> web.StreamResponse:
        name = f"{request.method} /{request.path.split('/')[1]}"
        if name in self.faults.delays:
            await asyncio.sleep(self.faults.delays[name])
        if self.faults.answers[name]:
            self._note(name)
            return trouble(request, self.faults.answers[name].popleft())
        answer = await handler(request)
        if self.faults.after[name]:
            return trouble(request, self.faults.after[name].popleft())
        return answer

    def _note(self, request: str, body: Any = None) -> None:
        self.seen.append(Seen(request, body))

    async def _prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        self._note("POST /prompt", body)
        self.prompts.append(body["prompt"])
        self._sockets.counting = True
        body.setdefault("prompt_id", str(uuid.uuid4()))
        status, answer = self.engine.submit(body)
        return web.json_response(answer, status=status)

    async def _queue(self, _: web.Request) -> web.Response:
        self._note("GET /queue")
        return web.json_response(self.engine.queue())

    async def _delete(self, request: web.Request) -> web.Response:
        body = await request.json()
        self._note("POST /queue", body)
        self.engine.delete(body.get("delete", []))
        return web.Response()

    async def _history(self, request: web.Request) -> web.Response:
        self._note("GET /history")
        return web.json_response(self.engine.history(request.match_info["id"]))

    async def _forget(self, request: web.Request) -> web.Response:
        body = await request.json()
        self._note("POST /history", body)
        self.engine.forget(body.get("delete", []))
        return web.Response()

    async def _drop_results(self, request: web.Request) -> web.Response:
        body = await request.json()
        self._note("POST /orchestrator/results", body)
        for file in body["files"]:
            self.files.pop((file["type"], file["subfolder"], file["filename"]), None)
        return web.json_response({"deleted": len(body["files"])})

    async def _interrupt(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else {}
        self._note("POST /interrupt", body)
        self.engine.interrupt(body.get("prompt_id"))
        return web.Response()

    async def _upload(self, request: web.Request) -> web.Response:
        fields = form_fields(request.headers["Content-Type"], await request.read())
        filename, data = fields["image"]
        kind, folder = (fields.get(name, ("", b""))[1].decode() for name in ("type", "subfolder"))
        self._note("POST /upload/image", filename)
        self.files[kind or "input", folder, filename] = data
        return web.json_response({"name": filename, "subfolder": folder, "type": kind or "input"})

    async def _view(self, request: web.Request) -> web.Response:
        query = request.query
        self._note("GET /view", dict(query))
        data = self.files.get((query.get("type", "output"), query.get("subfolder", ""), query["filename"]))
        if data is None or self.faults.lose_pictures:
            return web.Response(status=404)
        return web.Response(body=data, content_type="image/png")

    async def _object_info(self, _: web.Request) -> web.Response:
        self._note("GET /object_info")
        return web.json_response(self.catalog_json)

    async def _system_stats(self, _: web.Request) -> web.Response:
        self._note("GET /system_stats")
        return web.json_response({"system": {"comfyui_version": "0.3.64"}, "devices": []})

    async def _free(self, request: web.Request) -> web.Response:
        self._note("POST /free", await request.json())
        return web.Response()

    def _has_file(self, reference: str) -> bool:
        folder, _, name = reference.removesuffix(" [temp]").rpartition("/")
        return ("temp", folder, name) in self.files

    def _keep_picture(self, filename: str, prompt: Json | None = None) -> Json:
        recorded = self.recording is not None
        kind, folder = ("output", "") if recorded else ("temp", OUTPUT_FOLDER)
        self.files[kind, folder, filename] = self.paint(prompt) if self.paint and prompt else self.result_png
        return {"filename": filename, "subfolder": folder, "type": kind}


def trouble(request: web.Request, status: int) -> web.Response:
    """The answer of a server in trouble, or none at all."""
    if not status and request.transport is not None:
        request.transport.abort()
    return web.Response(status=status or 500, text="Server got itself in trouble")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.comfyui", description="A fake ComfyUI.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--run-seconds", type=float, default=0.0)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--catalog", type=Path, help="object_info as JSON, gzipped or not")
    parser.add_argument("--picture", type=Path, help="what every job makes")
    return parser.parse_args()


def _read_json(path: Path) -> Json:
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)


async def _serve(arguments: argparse.Namespace) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    fake = FakeComfyUI(
        port=arguments.port,
        run_seconds=arguments.run_seconds,
        steps=arguments.steps,
        catalog_json=_read_json(arguments.catalog) if arguments.catalog else None,
        result_png=arguments.picture.read_bytes() if arguments.picture else None,
    )
    async with fake:
        print(f"fake ComfyUI at {fake.url}", flush=True)
        await stopping.wait()


if __name__ == "__main__":
    asyncio.run(_serve(_arguments()))
