"""docs/api.md: its commands, run in order at a service, do what stands there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

from orchestrator import errors
from orchestrator.api.described import HAPPENINGS
from tests.comfyui.backends import REPOSITORY

_DOCUMENT = (REPOSITORY / "docs" / "api.md").read_text()
_NOT_TOLD = (
    *(errors.OrchestratorError, errors.RequestError, errors.ModelError),  # their kinds are told
    *(errors.WorkflowError, errors.SettingsError),  # at the start
    errors.ServiceUnreachable,  # the client's own
)
_EXPORT = "export ORCHESTRATOR_URL=http://127.0.0.1:8080\n"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", _DOCUMENT, re.DOTALL | re.MULTILINE)


def test_its_commands_run_in_order(service_url: str, tmp_path: Path) -> None:
    first, *others = blocks("sh")
    assert first.startswith(_EXPORT)
    assert len(others) >= 8
    (tmp_path / "orchestrator").symlink_to(REPOSITORY / "orchestrator")
    (tmp_path / "run.sh").write_text("set -eu\n" + first.removeprefix(_EXPORT) + "".join(others))
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "orchestrator").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m orchestrator.cli "$@"\n')
    (bin_folder / "orchestrator").chmod(0o755)
    environment = os.environ | {
        "ORCHESTRATOR_URL": service_url,
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
    }
    done = subprocess.run(["sh", "run.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "event: succeeded" in done.stdout
    assert '"state": "cancelled"' in done.stdout
    assert '"code": "key_reused"' in done.stdout
    for name, kind in (("out.jpg", "JPEG"), ("out.png", "PNG")):
        with Image.open(tmp_path / name) as picture:
            assert picture.format == kind
    problem = json.loads((tmp_path / "problem.json").read_text())
    assert problem == json.loads(blocks("json")[0])


def test_every_code_is_in_its_table() -> None:
    kinds = [errors.OrchestratorError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    told = [kind for kind in kinds if kind not in _NOT_TOLD]
    # What is not an error of ours: no such path or method, a range that is beyond, a fault of the service.
    codes = {_code(kind) for kind in told} | {
        "not_found",
        "method_not_allowed",
        "range_not_satisfiable",
        "internal_error",
    }
    table = "".join(line for line in _DOCUMENT.splitlines() if re.match(r"\| [0-9]{3}", line))
    assert {code for code in codes if f"`{code}`" not in table} == set()


def test_every_event_and_its_fields_are_told() -> None:
    for kind, schema in HAPPENINGS.items():
        rows = [line for line in _DOCUMENT.splitlines() if re.match(rf"\|.*`{kind.lower()}`.*\|", line)]
        assert [field for field in schema["properties"] if f"`{field}`" not in "".join(rows)] == []


def _code(kind: type[errors.OrchestratorError]) -> str:
    return kind("").code


def test_its_python_runs(service_url: str, tmp_path: Path) -> None:
    program = blocks("python")[0].replace("Client()", f"Client({service_url!r})")
    for name in ("sample.jpg", "mask.png"):
        (tmp_path / name).write_bytes((REPOSITORY / "orchestrator" / "demo" / name).read_bytes())
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "[('steps', 'must be a whole number from 1 to 150;" in done.stdout
    assert (tmp_path / "out.png").is_file()
