"""The embedded backend's port, where somebody else has it."""

import socket
from pathlib import Path

import pytest

from orchestrator.comfy.embedded import Folders, embedded_backend
from orchestrator.errors import SettingsError


async def test_a_port_that_is_taken_is_told_by_the_settings_name(tmp_path: Path) -> None:
    folders = Folders(models=tmp_path, temporary=tmp_path, nodes=tmp_path, workflows=tmp_path, editor=tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SettingsError, match="editor_port"):
        async with embedded_backend(folders, taken.getsockname()[1]):
            pass
