"""Reading the workflow folders."""

import json
from pathlib import Path

import pytest
import yaml

from orchestrator.errors import WorkflowError
from orchestrator.widgets.library import load
from tests.unit.widgets.drawing import CATALOG, definition, drawing, saved


def write(folder: Path, name: str, said: object = None, drawn: object = None) -> Path:
    path = folder / name
    path.mkdir()
    (path / "widget.yaml").write_text(yaml.safe_dump(definition() if said is None else said, sort_keys=False))
    (path / "workflow.json").write_text(json.dumps(saved(drawing()) if drawn is None else drawn))
    return path


def refusal(folder: Path) -> str:
    with pytest.raises(WorkflowError) as refused:
        load(folder, CATALOG)
    return refused.value.detail


def test_every_subfolder_with_a_widget_yaml_is_a_widget(tmp_path: Path) -> None:
    write(tmp_path, "second")
    write(tmp_path, "a_first-1")
    (tmp_path / "notes").mkdir()
    (tmp_path / "README.md").write_text("for artists")
    widgets = load(tmp_path, CATALOG)
    assert list(widgets) == ["a_first-1", "second"]
    assert widgets["second"].name == "second"
    assert widgets["second"].title == "Test"
    assert list(widgets["second"].definition.parameters)[:3] == ["image", "model", "prompt"]


def test_the_faults_of_all_folders_come_at_once_each_line_with_its_folder(tmp_path: Path) -> None:
    write(tmp_path, "one", said=definition() | {"output": "Nowhere"})
    write(tmp_path, "two", said=definition() | {"outputs": "Result"})
    lines = refusal(tmp_path).split("\n")
    assert lines == [
        "one: node 'Nowhere': no node has this title, which widget.yaml names; titles that it does not name: "
        "'Encode', 'Decode', 'Result', 'A look'",
        "two: widget.yaml: outputs: Extra inputs are not permitted",
    ]


def test_a_folder_name_that_makes_no_url_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "In Paint")
    assert refusal(tmp_path) == "In Paint: a widget's folder is named with a-z, 0-9, - and _ only"


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (write(tmp_path, "a") / "workflow.json").unlink()
    (write(tmp_path, "b") / "workflow.json").write_text("{")
    (write(tmp_path, "c") / "widget.yaml").write_text("title: [")
    (write(tmp_path, "d") / "widget.yaml").write_text("title: a\ntitle: b\n")
    (write(tmp_path, "e") / "widget.yaml").write_bytes(b"\xff\xfe\xfa")
    a, b, c, d, e = refusal(tmp_path).split("\n")
    assert a.startswith("a: workflow.json cannot be read")
    assert b.startswith("b: workflow.json cannot be read")
    assert c.startswith("c: widget.yaml, line 1: expected the node content")
    assert d == "d: widget.yaml, line 1: a key stands twice"
    assert e.startswith("e: widget.yaml cannot be read")


def test_a_colon_in_a_text_is_told_by_its_line_in_the_words_of_people_who_write(tmp_path: Path) -> None:
    text = "title: House\nparameters:\n  steps:\n    help: Steps: few are quick\n"
    (write(tmp_path, "a") / "widget.yaml").write_text(text)
    assert refusal(tmp_path).startswith("a: widget.yaml, line 4: a text with ': ' in it needs quotes around it")


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    """Some editors of text on Windows put one before what they save."""
    file = write(tmp_path, "a") / "workflow.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert list(load(tmp_path, CATALOG)) == ["a"]


def test_the_api_format_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a", drawn=drawing())
    assert refusal(tmp_path) == (
        "a: workflow.json: this is the API format; use the file that the editor's File → Export writes"
    )


def test_a_fault_in_the_drawing_names_file_node_and_input(tmp_path: Path) -> None:
    drawn = saved(drawing())
    drawn["nodes"][0]["type"] = "Reroute"
    drawn["nodes"][0]["inputs"] = [{"name": "", "type": "*", "link": 99}]
    drawn["links"].append([99, 1, 0, 1, 0, "*"])
    write(tmp_path, "a", drawn=drawn)
    assert refusal(tmp_path) == "a: workflow.json: node 'LoRA' (id 2), input 'model': its link leads in a circle"


def test_no_folder_and_no_widgets_are_faults(tmp_path: Path) -> None:
    assert "is not a folder" in refusal(tmp_path / "nowhere")
    assert "holds no folder with a widget.yaml" in refusal(tmp_path)
