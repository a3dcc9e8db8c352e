"""What artists type."""

import json
from pathlib import Path

import pytest

from orchestrator.cli import main
from tests.unit.widgets.conversion.drawings import node, workflow


def write(path: Path, value: object) -> str:
    path.write_text(json.dumps(value))
    return str(path)


def test_convert_prints_the_graph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "w.json", workflow(node(1, "EmptyLatentImage", [64, 32, 1])))
    assert main(["workflows", "convert", file]) == 0
    graph = json.loads(capsys.readouterr().out)
    assert graph["1"]["class_type"] == "EmptyLatentImage"
    assert graph["1"]["inputs"] == {"width": 64, "height": 32, "batch_size": 1}


def test_convert_takes_a_catalogue_and_says_which_classes_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "w.json", workflow(node(1, "Mine", [5]), node(2, "Theirs")))
    declared = {"Mine": {"input": {"required": {"size": ["INT", {}]}}, "output": []}}
    assert main(["workflows", "convert", file, "--catalogue", write(tmp_path / "c.json", declared)]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["1"]["inputs"] == {"size": 5}
    assert "Theirs is not in the node catalogue" in shown.err


def test_convert_ends_with_a_sentence_for_what_it_cannot_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "w.json", {"1": {"class_type": "SaveImage", "inputs": {}}})
    assert main(["workflows", "convert", file]) == 2
    assert "w.json: this is the API format" in capsys.readouterr().err
    assert main(["workflows", "convert", file, "--catalogue", write(tmp_path / "c.json", [])]) == 2
    assert "c.json holds no node classes" in capsys.readouterr().err
