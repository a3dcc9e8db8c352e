"""The editor's pack deletes pictures of opened jobs, and nothing else."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

JOB, OTHER = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
FILE = Path(__file__).parents[3] / "comfyui_nodes" / "orchestrator_editor" / "forgetting.py"


@pytest.fixture
def forgetting() -> ModuleType:
    spec = importlib.util.spec_from_file_location("forgetting", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_jobs_pictures_are_deleted_and_all_others_stay(forgetting: Any, tmp_path: Path) -> None:
    folder = tmp_path / "orchestrator" / "opened"
    folder.mkdir(parents=True)
    for name in (f"{JOB}-0.png", f"{JOB}-1.png", f"{OTHER}-0.png", "own.png"):
        (folder / name).touch()
    assert forgetting.forget({"jobs": [JOB]}, tmp_path) == 2
    assert {file.name for file in folder.iterdir()} == {f"{OTHER}-0.png", "own.png"}


@pytest.mark.parametrize("body", [None, [], {"jobs": "*"}, {"jobs": ["*", "..", "../own", f"{JOB}/..", 7, None]}])
def test_no_request_leads_elsewhere(forgetting: Any, tmp_path: Path, body: object) -> None:
    folder = tmp_path / "orchestrator" / "opened"
    folder.mkdir(parents=True)
    (folder / "own.png").touch()
    assert forgetting.forget(body, tmp_path) == 0
    assert (folder / "own.png").exists()
