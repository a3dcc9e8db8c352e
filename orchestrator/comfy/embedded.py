"""Starts the embedded backend, a child process of the service, for machines without a ComfyUI of their own."""

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.managed import free_port
from orchestrator.comfy.process import BackendProcess

_START_SECONDS = 180.0
"""The first start writes the demo model's files."""


@dataclass(frozen=True)
class Folders:
    """Where the embedded backend finds models and node packs, and where it may write."""

    models: Path
    temporary: Path
    nodes: Path


@asynccontextmanager
async def embedded_backend(folders: Folders) -> AsyncGenerator[BackendClient, None]:
    """A client of the embedded backend, which runs on a free port of this machine while the block lasts."""
    port = free_port()
    command = [sys.executable, "-m", "orchestrator.embedded", "--port", str(port), "--demo-model"]
    command += ["--models", str(folders.models), "--temp", str(folders.temporary), "--nodes", str(folders.nodes)]
    command += ["--parent-pid", str(os.getpid())]
    process = BackendProcess("embedded", command, ready=lambda: backend.alive(), start_deadline=_START_SECONDS)
    backend = BackendClient(f"http://127.0.0.1:{port}", name="embedded", kind="embedded", process=process)
    async with process:
        yield backend
