"""The program as a process of its own."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

_SECONDS = 60.0


def answer(port: int, path: str) -> Any:
    """The first answer that comes within the deadline."""
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=_SECONDS) as given:
                return json.loads(given.read())
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_it_answers_before_the_nodes_are_there_and_ends_with_its_parent(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    arguments = [
        "--port",
        str(port),
        "--models",
        str(tmp_path),
        "--temp",
        str(tmp_path),
        "--parent-pid",
        str(parent.pid),
    ]
    program = subprocess.Popen([sys.executable, "-m", "orchestrator.embedded", *arguments], stderr=subprocess.DEVNULL)
    try:
        assert answer(port, "/system_stats")["system"]["embedded_backend"] == {"ready": False}
        parent.kill()
        parent.wait(_SECONDS)
        assert program.wait(_SECONDS) == 0
    finally:
        parent.kill()
        program.kill()
        program.wait(_SECONDS)
