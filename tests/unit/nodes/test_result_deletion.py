"""What the pack orchestrator_results deletes, and what it leaves alone."""

import sys
from importlib import util
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[3] / "comfyui_nodes" / "orchestrator_results" / "deleting.py"


@pytest.fixture(scope="module")
def delete_results() -> Any:
    spec = util.spec_from_file_location("deleting", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules["deleting"] = module
    spec.loader.exec_module(module)
    return module.delete_results


def file(name: str, subfolder: str = "", kind: str = "output") -> dict[str, str]:
    return {"filename": name, "subfolder": subfolder, "type": kind}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("output/sub", "temp", "input"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("output/a.png", "output/sub/b.png", "output/other.png", "temp/c.png", "input/d.png", "outside.png"):
        (tmp_path / name).touch()
    return tmp_path


def left(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*.png")}


def test_what_the_job_left_and_was_asked_for_is_deleted_and_nothing_else(delete_results: Any, place: Path) -> None:
    outputs = {"9": {"images": [file("a.png"), file("b.png", "sub")]}, "8": {"images": [file("c.png", kind="temp")]}}
    body = {"prompt_id": "job", "files": [file("b.png", "sub"), file("c.png", kind="temp"), file("other.png")]}
    asked: list[str] = []

    def history(prompt_id: str) -> object:
        asked.append(prompt_id)
        return outputs

    assert delete_results(body, history, lambda kind: str(place / kind)) == 2
    assert asked == ["job"]
    assert left(place) == {"output/a.png", "output/other.png", "input/d.png", "outside.png"}


@pytest.mark.parametrize(
    "named", [file("d.png", kind="input"), file("outside.png", ".."), file("../outside.png"), file("none.png"), {}, 7]
)
def test_inputs_and_what_lies_outside_are_left_alone_whatever_the_history_says(
    delete_results: Any, place: Path, named: object
) -> None:
    before = left(place)
    body = {"prompt_id": "job", "files": [named]}
    assert delete_results(body, lambda _: {"9": {"images": [named]}}, lambda kind: str(place / kind)) == 0
    assert left(place) == before


@pytest.mark.parametrize("body", [None, [], {}, {"prompt_id": 3}, {"prompt_id": "unknown", "files": [file("a.png")]}])
def test_a_request_for_no_job_deletes_nothing(delete_results: Any, place: Path, body: object) -> None:
    assert delete_results(body, lambda _: None, lambda kind: str(place / kind)) == 0
    assert "output/a.png" in left(place)
