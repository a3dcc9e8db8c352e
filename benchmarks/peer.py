"""What the service adds to a job beside what a peer adds: comfy-api-proxy, Comfy's own API, before the same backend.

python -m benchmarks.peer [--jobs 100] [--rounds 3]

Both stand before one fake backend that answers at once, with the same graph, pictures and mask, in turns. A caller of
the service makes one request with both pictures in it and is answered with the image's link. A caller of the peer
uploads both, submits the graph, and polls at once and every 10 ms for the link, which is what its documentation calls
authoritative. The peer does less: it hands pictures on unseen, checks no parameter, compiles nothing, keeps no image
(its link reads the backend's disk) and knows one backend. Figures are of the caller's wait.
"""

import argparse
import asyncio
import base64
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.backends import fake_backends
from benchmarks.overhead import bodies_of
from benchmarks.report import figure
from benchmarks.service import serving
from tests.integration.models import SD15, write_header

_POLL_SECONDS = 0.01
_START_SECONDS = 60.0
Body = Mapping[str, object]


async def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        write_header(data / "models" / "checkpoints" / "demo.safetensors", SD15)
        async with fake_backends(1) as backends:
            config = {"backends": [{"url": backends.urls[0]}], "disk_floor_gb": 0}
            (data / "config.yaml").write_text(json.dumps(config))
            async with (
                serving(data, "--config", str(data / "config.yaml")) as service,
                _peer(backends.urls[0], data / "peer") as peer,
            ):
                count = options.jobs * options.rounds
                bodies = bodies_of(2 * count)
                runs = {"service": _Service(service).job, "peer": _Peer(peer, await _graph(service, bodies[0])).job}
                # Pictures of their own each time: both remember what they have sent to the backend.
                await _measure(runs, bodies[:count], options.rounds, 1)
                await _measure(runs, bodies[count:], options.rounds, 32)


async def _measure(
    runs: Mapping[str, Callable[[Body], Awaitable[None]]], bodies: Sequence[Body], rounds: int, callers: int
) -> None:
    waits: dict[str, list[float]] = {name: [] for name in runs}
    walls: dict[str, float] = dict.fromkeys(runs, 0.0)
    for number in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            waits[name] += await _called(run, bodies[number::rounds], callers)
            walls[name] += time.perf_counter() - began
    about = {"callers": callers, "picture": "512x512", "peer": f"comfy-api-proxy {version('comfy-api-proxy')}"}
    for name, seconds in waits.items():
        figure(f"{name}_wait_p50", 1000 * statistics.median(seconds), "ms", len(seconds), **about)
        figure(f"{name}_jobs_per_second", len(seconds) / walls[name], "1/s", len(seconds), **about)
    ratio = statistics.median(waits["service"]) / statistics.median(waits["peer"])
    figure("wait_service_by_peer", ratio, "ratio", len(bodies), **about)
    figure("speed_service_by_peer", walls["peer"] / walls["service"], "ratio", len(bodies), **about)


async def _called(run: Callable[[Body], Awaitable[None]], bodies: Sequence[Body], callers: int) -> list[float]:
    waiting, seconds = list(bodies), []

    async def call() -> None:
        while waiting:
            body = waiting.pop()
            began = time.perf_counter()
            await run(body)
            seconds.append(time.perf_counter() - began)

    await asyncio.gather(*(call() for _ in range(callers)))
    return seconds


class _Service:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def job(self, body: Body) -> None:
        """From one request to the image's link."""
        assert (await _answered(self._session.post("/widgets/inpaint", json=body)))["url"]


class _Peer:
    def __init__(self, session: aiohttp.ClientSession, graph: Mapping[str, Any]) -> None:
        self._session = session
        self._graph = graph
        self._number = 0

    async def job(self, body: Body) -> None:
        """From two uploads to the image's link."""
        self._number += 1
        names = {"image": f"picture{self._number}.png", "mask": "mask.png"}
        await asyncio.gather(*(self._upload(names[field], str(body[field])) for field in names))
        graph = deepcopy(dict(self._graph))
        for node in graph.values():
            if node["class_type"].startswith("LoadImage"):
                node["inputs"]["image"] = names["mask" if "Mask" in node["class_type"] else "image"]
            for name in ("seed", "noise_seed"):
                if name in node["inputs"]:
                    node["inputs"][name] = body["seed"]
        told = await _answered(self._session.post("/api/v2/jobs", json={"workflow": graph}))
        while told["status"] not in ("succeeded", "failed"):
            told = await _answered(self._session.get(f"/api/v2/jobs/{told['id']}"))
            if told["status"] not in ("succeeded", "failed"):
                await asyncio.sleep(_POLL_SECONDS)
        assert told["outputs"][0]["url"], told

    async def _upload(self, name: str, text: str) -> None:
        form = aiohttp.FormData()
        form.add_field("file_path", f"input/{name}")
        form.add_field("file", base64.b64decode(text), filename=name, content_type="image/png")
        await _answered(self._session.post("/api/v2/assets", data=form))


async def _answered(request: Any) -> dict[str, Any]:
    async with request as answer:
        if answer.status >= 300:
            raise RuntimeError(await answer.text())
        told: dict[str, Any] = await answer.json()
        return told


async def _graph(session: aiohttp.ClientSession, body: Body) -> dict[str, Any]:
    """What the service sends to the backend for such a request."""
    async with session.post("/widgets/inpaint", json=body) as answer:
        job_id = answer.headers["X-Job-Id"]
    return await _answered(session.get(f"/jobs/{job_id}/prompt"))


@asynccontextmanager
async def _peer(backend: str, state: Path) -> AsyncIterator[aiohttp.ClientSession]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "comfy_api_proxy.cli", "--comfyui", backend, "--port", str(port)]
    process = await asyncio.create_subprocess_exec(
        *command, "--state-dir", str(state), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session, asyncio.timeout(None) as limit:
            limit.reschedule(asyncio.get_running_loop().time() + _START_SECONDS)
            while True:
                try:
                    await _answered(session.get("/api/v2/health"))
                    break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.1)
            limit.reschedule(None)
            yield session
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), _START_SECONDS)


if __name__ == "__main__":
    asyncio.run(main())
