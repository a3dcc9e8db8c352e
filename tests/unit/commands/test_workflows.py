"""What artists type."""

import json
from pathlib import Path

import pytest

from orchestrator.cli import main
from tests.unit.widgets.conversion.drawings import node, workflow
from tests.unit.widgets.test_creation import drawn


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


def settings(tmp_path: Path) -> list[str]:
    """Options that make `tmp_path/workflows` the folder of workflows."""
    (tmp_path / "workflows").mkdir(exist_ok=True)
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"workflows": str(tmp_path / "workflows")}))
    return ["--config", str(config)]


def test_new_makes_a_widget_and_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "w.json", drawn())
    assert main(["workflows", "new", "house", file, *settings(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "house is made, with 9 parameters: model, prompt, negative_prompt, width" in said
    assert "The node 'CLIP Text Encode (Prompt)' (3) is titled 'Negative prompt' in the widget." in said
    assert said.rstrip().endswith(
        "house can be used; callers set model, prompt, negative_prompt, width, height, steps, cfg_scale, sampler, seed"
    )


def test_check_says_in_sentences_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = settings(tmp_path)
    file = write(tmp_path / "w.json", drawn())
    for name in ("good", "bad"):
        assert main(["workflows", "new", name, file, *options]) == 0
    definition = tmp_path / "workflows" / "bad" / "widget.yaml"
    definition.write_text(definition.read_text().replace("input: cfg}", "input: cgf}"))
    capsys.readouterr()
    assert main(["workflows", "check", *options]) == 1
    assert capsys.readouterr().out.splitlines()[:2] == [
        "bad cannot be used:",
        "  - node 'KSampler', input 'cgf': bound to cfg_scale, but KSampler has no such input",
    ]
    assert main(["workflows", "check", "good", *options]) == 0
    assert "bad" not in capsys.readouterr().out
    assert main(["workflows", "check", "nowhere", *options]) == 2
    assert "there is no widget nowhere" in capsys.readouterr().err
