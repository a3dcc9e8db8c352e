"""Starts a ComfyUI of the operator's as a child process of the service, on one device, with folders of its own.

The node packs and the model shelf are handed to it by `--extra-model-paths-config`; its own folder is read and never
written. What it writes goes below `home` and is emptied before each start.
"""

import json
import os
import shutil
import socket
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.comfy import tether
from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.environment import inherited
from orchestrator.comfy.installation import Installation
from orchestrator.comfy.process import BackendProcess

_EMPTIED = ("input", "output", "temp")
_START_SECONDS = 600.0
"""Node packs may compile and look things up for minutes when they are loaded first."""
_STOP_SECONDS = 10.0


@dataclass(frozen=True)
class ManagedSetup:
    """One process: what runs, on which device, and where it reads and writes."""

    name: str
    installation: Installation
    home: Path
    """For input/, output/, temp/ and user/ of this process alone."""
    models: Path
    """The shelf, with checkpoints/ and loras/."""
    nodes: Path
    """The folder of node packs."""
    device: int | str | None = None
    """Number of the CUDA device, `cpu`, or None for ComfyUI's own choice."""
    arguments: Sequence[str] = ()
    port: int = 0
    """On loopback; 0 takes a free one."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to what it inherits of this process."""

    def prepare(self) -> None:
        """Makes the folders, for their owner alone, without what an earlier life left in them, and writes the paths."""
        for name in _EMPTIED:
            shutil.rmtree(self.home / name, ignore_errors=True)
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        # ComfyUI makes its folder of temporary pictures anew as its umask has it: the one around it keeps others out,
        # also where an earlier version of the service has made that one.
        self.home.chmod(0o700)
        for name in (*_EMPTIED, "user"):
            (self.home / name).mkdir(mode=0o700, exist_ok=True)
        shelf = {"base_path": str(self.models), "checkpoints": "checkpoints", "loras": "loras", "is_default": True}
        packs = {"base_path": str(self.nodes.parent), "custom_nodes": self.nodes.name}
        self._paths.write_text(json.dumps({"shelf": shelf, "packs": packs}, indent=1))  # JSON is YAML

    @property
    def _paths(self) -> Path:
        return self.home / "extra_model_paths.yaml"

    def command(self, port: int, parent: int) -> list[str]:
        """What is run; it ends when the process `parent` does."""
        tethered = [sys.executable, "-I", "-S", str(tether.__file__), str(parent)]
        folders = [part for name in (*_EMPTIED, "user") for part in (f"--{name}-directory", self._folder(name))]
        return [
            *tethered,
            str(self.installation.python),
            "main.py",
            *("--listen", "127.0.0.1", "--port", str(port), "--disable-auto-launch"),
            *folders,
            *("--database-url", f"sqlite:///{self.home / 'user' / 'comfyui.db'}"),
            *("--extra-model-paths-config", str(self._paths)),
            *self._device,
            *self.arguments,
        ]

    def _folder(self, name: str) -> str:
        # ComfyUI makes a folder temp of its own in the one that it is given for that.
        return str(self.home if name == "temp" else self.home / name)

    @property
    def _device(self) -> tuple[str, ...]:
        match self.device:
            case None:
                return ()
            case "cpu":
                return ("--cpu",)
            case number:
                return ("--cuda-device", str(number))


@asynccontextmanager
async def managed_backend(setup: ManagedSetup) -> AsyncGenerator[BackendClient, None]:
    """A client of the process, which is kept running while the block lasts."""
    port = setup.port or free_port()
    process = BackendProcess(
        setup.name,
        setup.command(port, os.getpid()),
        ready=lambda: backend.alive(),
        env=inherited({"PYTHONUNBUFFERED": "1", **setup.environment}),
        cwd=setup.installation.folder,
        start_deadline=_START_SECONDS,
        stop_deadline=_STOP_SECONDS,
        probe_seconds=0.5,
        before=setup.prepare,
        port=port,
    )
    backend = BackendClient(f"http://127.0.0.1:{port}", name=setup.name, kind="managed", process=process)
    async with process:
        yield backend


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
