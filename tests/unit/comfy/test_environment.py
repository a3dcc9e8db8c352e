"""What the programs that the service starts are told of its environment, as the system tells it of them."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.embedded import Folders, embedded_backend
from orchestrator.comfy.installation import Installation
from orchestrator.comfy.managed import ManagedSetup, managed_backend
from tests.fakes.checkout import fake_checkout

GIVEN = {"ORCHESTRATOR_PUBLISH_URL": "http://here"}


@asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[BackendClient]:
    folders = Folders(models=folder, temporary=folder, nodes=folder, workflows=folder, editor=folder)
    async with embedded_backend(folders, environment=GIVEN) as backend:
        yield backend


@asynccontextmanager
async def managed(folder: Path) -> AsyncIterator[BackendClient]:
    checkout = Installation(fake_checkout(folder / "ComfyUI", b""), Path(sys.executable))
    setup = ManagedSetup("one", checkout, folder / "home", folder, folder, environment=GIVEN)
    async with managed_backend(setup) as backend:
        yield backend


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the environment of a process so")
@pytest.mark.parametrize("started", [embedded, managed])
async def test_a_backend_is_told_nothing_of_the_services_settings(
    started: Callable[[Path], AbstractAsyncContextManager[BackendClient]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_CIVITAI_KEY", "k3y")
    monkeypatch.setenv("ORCHESTRATOR_API_KEY", "k3y")
    monkeypatch.setenv("ORCHESTRATOR_PUBLISH_KEY", "for the pack")
    monkeypatch.setenv("OF_ANOTHER", "kept")
    async with started(tmp_path) as backend, asyncio.timeout(30):
        assert backend.process is not None
        while not (pid := backend.process.pid):
            await asyncio.sleep(0.02)
        content = b""
        while b"PUBLISH_URL" not in content:  # until the child is another program
            await asyncio.sleep(0.02)
            content = Path(f"/proc/{pid}/environ").read_bytes()
    told = dict(line.split("=", 1) for line in os.fsdecode(content).split("\0") if "=" in line)
    assert {name: value for name, value in told.items() if name.startswith("ORCHESTRATOR_")} == GIVEN | {
        "ORCHESTRATOR_PUBLISH_KEY": "for the pack"
    }
    assert told["OF_ANOTHER"] == "kept"
    assert told["PATH"] == os.environ["PATH"]
