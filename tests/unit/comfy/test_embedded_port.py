"""How the embedded backend is started: on a port that may be taken, and bound to the service's life."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from orchestrator.comfy.embedded import Folders, embedded_backend
from orchestrator.errors import SettingsError


async def test_a_port_that_is_taken_is_told_by_the_settings_name(tmp_path: Path) -> None:
    folders = Folders(models=tmp_path, temporary=tmp_path, nodes=tmp_path, workflows=tmp_path, editor=tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SettingsError, match="editor_port"):
        async with embedded_backend(folders, taken.getsockname()[1]):
            pass


async def test_a_free_port_is_the_same_at_the_next_start_unless_it_is_taken(tmp_path: Path) -> None:
    folders = Folders(tmp_path, tmp_path, tmp_path, tmp_path, editor=tmp_path / "data" / "editor")

    async def address() -> str:
        async with embedded_backend(folders) as backend:
            return backend.url

    first = await address()
    assert await address() == first
    with socket.create_server(("127.0.0.1", int(first.rpartition(":")[2]))):
        assert await address() != first
    assert await address() == first


@pytest.mark.parametrize("text", ["", "none", "99999999", "-1"])
async def test_a_kept_port_that_is_none_is_no_hindrance(tmp_path: Path, text: str) -> None:
    folders = Folders(tmp_path, tmp_path, tmp_path, tmp_path, editor=tmp_path / "editor")
    (tmp_path / "editor.port").write_text(text)
    async with embedded_backend(folders) as backend:
        assert int(backend.url.rpartition(":")[2]) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the arguments of a process so")
async def test_it_is_told_whose_end_is_its_own(tmp_path: Path) -> None:
    folders = Folders(models=tmp_path, temporary=tmp_path, nodes=tmp_path, workflows=tmp_path, editor=tmp_path)
    async with embedded_backend(folders) as backend, asyncio.timeout(30):
        arguments: list[bytes] = []
        while b"--parent-pid" not in arguments:
            await asyncio.sleep(0.02)
            process = backend.process
            assert process is not None
            if process.pid is not None:
                arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    assert arguments[arguments.index(b"--parent-pid") + 1] == str(os.getpid()).encode()
