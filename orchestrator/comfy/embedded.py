"""Starts the embedded backend, a child process of the service, for machines without a ComfyUI of their own."""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.environment import inherited
from orchestrator.comfy.process import BackendProcess
from orchestrator.errors import SettingsError

log = logging.getLogger(__name__)

_START_SECONDS = 180.0
"""The first start writes the demo model's files."""


@dataclass(frozen=True)
class Folders:
    """Where the embedded backend finds models, packs and workflows, and where it and the editor may write."""

    models: Path
    temporary: Path
    nodes: Path
    workflows: Path
    editor: Path


def _free(port: int) -> int:
    """The port, or any with 0. Raises OSError where nobody can listen on it."""
    with socket.create_server(("127.0.0.1", port)) as probe:
        return int(probe.getsockname()[1])


def _usual(file: Path) -> int:
    """The port that the file names, if it is free; else a free one, which a file that names none is told."""
    try:
        usual = int(file.read_text("ascii"))
        if not 0 < usual < 1 << 16:
            raise ValueError(f"{usual} is no port")
    except (OSError, ValueError):
        port = _free(0)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{port}\n", "ascii")
        except OSError as error:
            log.warning("the editor's address will be another at the next start: %s", error)
        return port
    try:
        return _free(usual)
    except OSError:
        return _free(0)


@asynccontextmanager
async def embedded_backend(
    folders: Folders, port: int = 0, environment: Mapping[str, str] | None = None
) -> AsyncGenerator[BackendClient, None]:
    """A client of the embedded backend, which runs on a port of 127.0.0.1 while the block lasts.

    With 0 it is a free one, the same from start to start where it can be had: browsers keep the drawings that are open
    by the address. `environment` is added to that of this process. Raises SettingsError where somebody else listens on
    the port.
    """
    try:
        port = _free(port) if port else await asyncio.to_thread(_usual, folders.editor.with_name("editor.port"))
    except OSError as error:
        raise SettingsError(f"editor_port: 127.0.0.1 port {port} cannot be had: {error.strerror or error}") from error
    command = [sys.executable, "-m", "orchestrator.embedded", "--port", str(port), "--demo-model"]
    command += ["--models", str(folders.models), "--temp", str(folders.temporary), "--nodes", str(folders.nodes)]
    command += ["--user", str(folders.editor), "--workflows", str(folders.workflows)]
    command += ["--parent-pid", str(os.getpid())]
    process = BackendProcess(
        "embedded",
        command,
        ready=lambda: backend.alive(),
        env=inherited(environment or {}),
        start_deadline=_START_SECONDS,
        port=port,
    )
    backend = BackendClient(f"http://127.0.0.1:{port}", name="embedded", kind="embedded", process=process)
    log.info("the embedded backend, and the editor with it, is at %s", backend.url)
    async with process:
        yield backend
