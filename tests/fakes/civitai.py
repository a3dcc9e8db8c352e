"""A stand-in for Civitai: its API on one origin, its delivery hosts on another, and everything that they get wrong.

Speaks what developer.civitai.com and the server's own source say: facts of versions as JSON, downloads as a 307 to a
signed URL, ranges, refusals with Civitai's own bodies. Each file has its `Fixture.fault`, counted down.
"""

import asyncio
import hashlib
import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

KEY = "a-good-key"
BROWSERS = ("mozilla", "chrome", "safari", "firefox", "opera", "edge")
LOGIN = {"error": "Unauthorized", "message": "The creator of this asset requires you to be logged in to download it"}
EARLY = {"error": "Early Access", "deadline": "2027-01-01T00:00:00.000Z", "message": "This asset is in Early Access."}
REGION = {
    "error": "Access to this service is not available in your region due to legal restrictions.",
    "code": "REGION_BLOCKED",
}
QUOTA = {"error": "We've noticed an unusual amount of downloading from your account."}
REFUSALS: dict[str, tuple[int, dict[str, str]]] = {
    "early": (403, EARLY),
    "no grant": (403, {"error": "You do not have access to download this file"}),
    "disabled": (
        401,
        {"error": "Unauthorized", "message": "The creator of this asset has disabled downloads on this file"},
    ),
    "archived": (410, {"error": "Model archived, not available for download"}),
    "file not found": (404, {"error": "File not found"}),
    "region": (451, REGION),
}


@dataclass
class Fixture:
    """One version with one file, and what goes wrong with it."""

    version_id: int
    body: bytes
    file_id: int = 0
    model_id: int = 0
    type: str = "Checkpoint"
    base_model: str = "SD 1.5"
    facts: dict[str, Any] = field(default_factory=dict)
    """Put over the version's facts."""
    file_facts: dict[str, Any] = field(default_factory=dict)
    other_files: list[dict[str, Any]] = field(default_factory=list)
    needs_login: bool = False
    etag: str = '"one"'
    fault: str = ""
    """What the next `times` downloads (or deliveries) do."""
    times: int = 1
    cut_at: float = 0.98
    path: Path | None = None
    """A file to deliver in place of `body`, by the kernel: for measurements."""
    pause: float = 0.0
    """Seconds between pieces of 64 KiB."""

    def __post_init__(self) -> None:
        self.file_id = self.file_id or self.version_id + 1_000_000
        self.model_id = self.model_id or self.version_id + 2_000_000

    @property
    def file(self) -> dict[str, Any]:
        told = "hashes" in self.file_facts  # a large body's hash takes its time
        return {
            "id": self.file_id,
            "sizeKB": len(self.body) / 1024,
            "name": f"model{self.version_id}.safetensors",
            "type": "Model",
            "pickleScanResult": "Success",
            "pickleScanMessage": "No Pickle imports",
            "virusScanResult": "Success",
            "virusScanMessage": None,
            "metadata": {"format": "SafeTensor", "size": "pruned", "fp": "fp16"},
            "hashes": {} if told else {"SHA256": hashlib.sha256(self.body).hexdigest().upper(), "AutoV2": "0123456789"},
            "primary": True,
            "downloadUrl": "not to be used",
            **self.file_facts,
        }

    @property
    def version(self) -> dict[str, Any]:
        return {
            "id": self.version_id,
            "modelId": self.model_id,
            "name": "v1.0",
            "baseModel": self.base_model,
            "baseModelType": "Standard",
            "trainedWords": ["word"],
            "usageControl": "Download",
            "status": "Published",
            "model": {"name": f"Model {self.version_id}", "type": self.type, "nsfw": False, "poi": False},
            "files": [*self.other_files, self.file],
            "paidAccess": None,
            "somethingNew": {"deep": [1]},
            **self.facts,
        }

    def strikes(self, *faults: str) -> str:
        """The fault, if it is one of those and due; counted down."""
        if self.fault in faults and self.times > 0:
            self.times -= 1
            return self.fault
        return ""


class FakeCivitai:
    """Both origins on loopback, from `async with` to its end."""

    def __init__(self, *fixtures: Fixture) -> None:
        self.fixtures = {fixture.version_id: fixture for fixture in fixtures}
        self.requests: Counter[str] = Counter()
        self.sent_bytes = 0
        self.api_fault: list[tuple[int, dict[str, str], dict[str, str]]] = []
        """Status, body and headers of the next answers about facts."""
        self.authorized: list[str] = []
        self.ranges: list[str] = []
        self.signed_lifetime = 3600.0
        self.redirect_to = ""
        self._runners: list[web.AppRunner] = []
        self.url = self.cdn_url = ""

    async def __aenter__(self) -> "FakeCivitai":
        api, cdn = web.Application(), web.Application()
        api.add_routes(
            [
                web.get("/api/v1/model-versions/{id}", self._version),
                web.get("/api/v1/models/{id}", self._model),
                web.get("/api/download/models/{id}", self._download, allow_head=False),
                web.get("/login", self._login_page),
            ]
        )
        cdn.add_routes([web.get("/model/{id}/{name}", self._deliver, allow_head=False)])
        self.url, self.cdn_url = await self._serve(api), await self._serve(cdn)
        return self

    async def __aexit__(self, *_: object) -> None:
        for runner in self._runners:
            await runner.cleanup()

    async def _serve(self, app: web.Application) -> str:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    @property
    def hosts(self) -> tuple[str, str]:
        return self.url, self.cdn_url

    async def _version(self, request: web.Request) -> web.Response:
        self.requests["version"] += 1
        self.authorized.append(request.headers.get("Authorization", ""))
        if self.api_fault:
            status, body, headers = self.api_fault.pop(0)
            return web.json_response(body, status=status, headers=headers)
        fixture = self.fixtures.get(int(request.match_info["id"]))
        if fixture is None:
            return web.json_response({"error": "Model not found"}, status=404)
        return web.json_response(fixture.version)

    async def _model(self, request: web.Request) -> web.Response:
        self.requests["model"] += 1
        number = int(request.match_info["id"])
        found = [fixture for fixture in self.fixtures.values() if fixture.model_id == number]
        if not found:
            return web.json_response({"error": f"No model with id {number}"}, status=404)
        versions = [{"id": fixture.version_id, "name": "v1.0"} for fixture in found]
        return web.json_response({"id": number, "name": "A model", "modelVersions": versions})

    async def _login_page(self, _request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>Log in</title>", content_type="text/html")

    async def _download(self, request: web.Request) -> web.Response:
        self.requests["download"] += 1
        fixture = self.fixtures.get(int(request.match_info["id"]))
        if fixture is None or request.query.get("fileId") not in (None, str(fixture.file_id)):
            return web.json_response({"error": "File not found"}, status=404)
        if fixture.needs_login and request.headers.get("Authorization") != f"Bearer {KEY}":
            if any(word in request.headers.get("User-Agent", "").lower() for word in BROWSERS):
                raise web.HTTPTemporaryRedirect("/login?returnUrl=x&reason=download-auth")
            return web.json_response(LOGIN, status=401)
        if fault := fixture.strikes(*REFUSALS):
            status, body = REFUSALS[fault]
            return web.json_response(body, status=status)
        if fixture.strikes("429"):
            return web.json_response(QUOTA, status=429)
        if fixture.strikes("429 with Retry-After"):
            return web.json_response(QUOTA, status=429, headers={"Retry-After": "1"})
        if fault := fixture.strikes("500", "524"):
            return web.json_response({"error": "no"}, status=int(fault))
        if fixture.strikes("login page"):
            raise web.HTTPTemporaryRedirect("/login?returnUrl=x&reason=download-auth")
        expires = int((time.time() + self.signed_lifetime) * 1000)
        target = self.redirect_to or f"{self.cdn_url}/model/{fixture.version_id}/model.safetensors"
        disposition = "attachment%3B%20filename%3D%22..%2F..%2Fx%22"
        query = f"?X-Amz-Expires=3600&response-content-disposition={disposition}&at={expires}"
        headers = {"Location": target + query, "Cache-Control": "no-store, max-age=0"}
        return web.Response(status=307, headers=headers)

    async def _deliver(self, request: web.Request) -> web.StreamResponse:
        self.requests["delivery"] += 1
        fixture = self.fixtures[int(request.match_info["id"])]
        if "Authorization" in request.headers:
            return web.Response(status=400, text="<Error><Code>InvalidArgument</Code></Error>")
        if time.time() * 1000 > int(request.query["at"]) or fixture.strikes("expired"):
            text = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
            return web.Response(status=403, text=text, content_type="application/xml")
        asked = request.headers.get("Range", "")
        self.ranges.append(asked)
        if fixture.strikes("html"):
            return web.Response(text="<!doctype html>", content_type="text/html")
        if fixture.strikes("json"):
            return web.json_response({"error": "no"})
        if fault := fixture.strikes("503"):
            return web.Response(status=int(fault))
        if fixture.path is not None:
            return web.FileResponse(fixture.path)
        return await self._send(request, fixture, asked)

    async def _send(self, request: web.Request, fixture: Fixture, asked: str) -> web.StreamResponse:
        body, start, end = fixture.body, 0, len(fixture.body)
        same = request.headers.get("If-Range", fixture.etag) == fixture.etag
        ranged = asked and same and not fixture.strikes("range ignored")
        if ranged:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(end, int(last) + 1) if last else end
            if start >= len(body):
                return web.Response(status=416, headers={"Content-Range": f"bytes */{len(body)}"})
        response = web.StreamResponse(status=206 if ranged else 200, headers={"ETag": fixture.etag})
        response.content_type = "application/octet-stream"
        if ranged:
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(body)}"
        whole = not (asked and asked.endswith(f"-{2**20 - 1}"))  # the look at the first megabyte is left in peace
        cut = bool(whole and fixture.strikes("cut"))
        stall = bool(whole and fixture.strikes("stall"))
        lie = bool(whole and fixture.strikes("lying length"))
        response.content_length = (end - start) + (1000 if lie else 0)
        if whole and fixture.strikes("other bytes"):
            body = body[:-8] + b"\xff" * 8
        await response.prepare(request)
        stop = max(start, int(len(body) * fixture.cut_at)) if cut or stall else end
        for at in range(start, stop, 65536):
            piece = body[at : min(at + 65536, stop)]
            try:
                await response.write(piece)
            except ConnectionResetError:  # the caller has died, as callers do
                break
            self.sent_bytes += len(piece)
            if fixture.pause:
                await asyncio.sleep(fixture.pause)
        if stall:
            with suppress(ConnectionResetError):
                while request.transport is not None:
                    await asyncio.sleep(0.05)
        if (cut or lie) and request.transport is not None:
            await asyncio.sleep(0.01)
            request.transport.close()
        return response


def shapes_json(shapes: dict[str, list[int]], metadata: dict[str, str] | None = None) -> tuple[bytes, int]:
    """A header with the tensors end to end, 8 bit each, and the length of what follows it."""
    entries: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        size = 1
        for side in shape:
            size *= side
        entries[name] = {"dtype": "U8", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    return json.dumps(entries).encode(), end


def model_file(shapes: dict[str, list[int]], filling: int = 0, metadata: dict[str, str] | None = None) -> bytes:
    """A whole safetensors file of those tensors, and one more of `filling` bytes that differ from place to place."""
    if filling:
        shapes = {**shapes, "filling": [filling]}
    text, length = shapes_json(shapes, metadata)
    pattern = hashlib.sha256(text).digest()
    tensors = (pattern * (length // len(pattern) + 1))[:length]
    return len(text).to_bytes(8, "little") + text + tensors
