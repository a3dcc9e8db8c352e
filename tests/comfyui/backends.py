"""Starts a real ComfyUI or the embedded backend as a process, and runs graphs on either by its HTTP API."""

import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

REPOSITORY = Path(__file__).parents[2]
_RUN_SECONDS = 300.0
_CALL_SECONDS = 60.0
_INSIDE_SECONDS = 500.0


class RunFailed(Exception):
    """The backend refused the graph or a node failed."""


@dataclass(frozen=True)
class Backend:
    """A running backend."""

    url: str

    def call(self, path: str, body: object = None) -> Any:
        """GET without a body, POST of JSON with one."""
        data = None if body is None else json.dumps(body).encode()
        return json.loads(self._fetch(path, data, "application/json") or b"null")

    def _fetch(self, path: str, data: bytes | None = None, kind: str = "application/json") -> bytes:
        request = urllib.request.Request(self.url + path, data, {"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=_CALL_SECONDS) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise RunFailed(error.read().decode()) from error

    def upload(self, name: str, picture: Image.Image) -> str:
        """Stores a picture in the temporary folder; gives the name under which LoadImage finds it."""
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        fields = {"type": "temp", "subfolder": "tests", "overwrite": "true"}
        edge = uuid.uuid4().hex
        parts = [f'--{edge}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()]
        head = f'--{edge}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
        body = "".join(parts).encode() + head.encode() + buffer.getvalue() + f"\r\n--{edge}--\r\n".encode()
        self._fetch("/upload/image", body, f"multipart/form-data; boundary={edge}")
        return f"tests/{name} [temp]"

    def run(self, graph: dict[str, Any]) -> dict[str, Any]:
        """The history entry of one run; RunFailed when it does not succeed."""
        prompt_id = str(uuid.uuid4())
        self.call("/prompt", {"prompt": graph, "prompt_id": prompt_id})
        deadline = time.monotonic() + _RUN_SECONDS
        while not (history := self.call(f"/history/{prompt_id}")):
            if time.monotonic() > deadline:
                raise RunFailed("no end in sight")
            time.sleep(0.05)
        entry: dict[str, Any] = history[prompt_id]
        if entry["status"]["status_str"] != "success":
            raise RunFailed(str(entry["status"]["messages"][-1]))
        return entry

    def picture(self, graph: dict[str, Any]) -> np.ndarray:
        """The first picture that a run shows, [h, w, 3] in 0..255."""
        outputs = self.run(graph)["outputs"]
        shown = next(iter(outputs.values()))["images"][0]
        data = self._fetch(f"/view?{urllib.parse.urlencode(shown)}")
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(backend: Backend, process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            backend.call("/object_info/KSampler")
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RunFailed(f"did not start:\n{log.read_text()[-3000:]}") from None
            time.sleep(0.2)
        else:
            return


@contextmanager
def started(
    arguments: list[str], folder: Path, working_folder: Path, seconds: float = 120.0, port: int | None = None
) -> Iterator[Backend]:
    """A backend process with `--port` added to its arguments, from the first answer until it is stopped again."""
    port, log = port or free_port(), folder / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*arguments, "--port", str(port)],
            cwd=working_folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # two backends that wait for one another's cores are slow
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            backend = Backend(f"http://127.0.0.1:{port}")
            _wait(backend, process, log, seconds)
            yield backend
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(15)


def embedded_arguments(models: Path, folder: Path) -> list[str]:
    """How the embedded backend is started with this project's node pack."""
    nodes = REPOSITORY / "comfyui_nodes"
    arguments = [
        "--models",
        str(models),
        "--temp",
        str(folder),
        "--nodes",
        str(nodes),
        "--parent-pid",
        str(os.getpid()),
    ]
    return [sys.executable, "-m", "orchestrator.embedded", *arguments]


def comfyui_arguments(python: str, models: Path, folder: Path) -> list[str]:
    """How a real ComfyUI is started with this project's node pack and every folder of its own below `folder`."""
    places = {}
    for name in ("base", "input", "output", "temp", "user"):
        places[name] = folder / name
        places[name].mkdir(parents=True, exist_ok=True)
    (places["base"] / "custom_nodes").mkdir(exist_ok=True)
    extra = folder / "extra.yaml"
    ours = {"base_path": str(models), "checkpoints": "checkpoints", "loras": "loras"}
    pack = {"base_path": str(REPOSITORY), "custom_nodes": "comfyui_nodes"}
    extra.write_text(json.dumps({"models": ours, "pack": pack}))  # JSON is YAML
    moved = [part for name, place in places.items() for part in (f"--{name}-directory", str(place))]
    fixed = ["--cpu", "--listen", "127.0.0.1", "--disable-api-nodes", "--database-url", "sqlite:///:memory:"]
    return [python, "main.py", *fixed, *moved, "--extra-model-paths-config", str(extra)]


def told_inside(installation: tuple[str, str], program: str, checkpoint: Path) -> dict[str, Any]:
    """What a program of `inside` prints at its end, run in the folder and by the Python of a real ComfyUI."""
    folder, python = installation
    run = subprocess.run(
        [python, Path(__file__).parent / "inside" / program, checkpoint, REPOSITORY / "comfyui_nodes/a1111_inpaint"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": folder},
        capture_output=True,
        text=True,
        timeout=_INSIDE_SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    told: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return told
