"""A workflow that comes from outside: checked whole, written whole."""

import json
from pathlib import Path

import pytest

from orchestrator.comfy.known import known_catalog
from orchestrator.errors import WidgetExists, WorkflowRefused
from orchestrator.widgets import library
from orchestrator.widgets.creation import Words
from orchestrator.widgets.following import LivingWidgets
from orchestrator.widgets.publishing import Plan, Publication, plan, write
from tests.unit.widgets.test_creation import drawn

CATALOG = known_catalog()


def published(folder: Path, publication: Publication) -> Plan:
    planned = plan(folder, publication, CATALOG)
    write(folder, planned)
    return planned


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "workflows"
    path.mkdir()
    return path


def test_a_new_widget_is_what_the_command_line_would_make_and_can_be_used(folder: Path) -> None:
    planned = published(folder, Publication("house", drawn(), words=Words("My house", "Paints houses.")))
    assert planned.is_new
    assert planned.sentences[0] == "The node 'CLIP Text Encode (Prompt)' (2) is titled 'Prompt' in the widget."
    assert dict(planned.titles) == {"2": "Prompt", "3": "Negative prompt", "7": "Result"}
    assert planned.sentences[-1].startswith("house can be used; callers set model, prompt, negative_prompt")
    widget = library.load_one(folder / "house", CATALOG)
    assert (widget.title, widget.description) == ("My house", "Paints houses.")
    assert widget == planned.widget
    assert {path.name for path in folder.iterdir()} == {"house"}
    assert {path.name for path in (folder / "house").iterdir()} == {"workflow.json", "widget.yaml"}


def test_planning_writes_nothing(folder: Path) -> None:
    plan(folder, Publication("house", drawn()), CATALOG)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["", "House", "../house", "a/b", ".hidden", "ä", "a\n"])
def test_a_name_that_makes_no_address_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(WorkflowRefused) as refused:
        plan(folder, Publication(name, drawn()), CATALOG)
    assert [fault.field for fault in refused.value.fields] == ["name"]


@pytest.mark.parametrize(
    ("workflow", "sentence"),
    [
        ({}, "nodes"),
        ({"nodes": []}, "no node of the workflow runs"),
        ({"1": {"class_type": "KSampler", "inputs": {}}}, "API format"),
        ({**drawn(), "nodes": [node for node in drawn()["nodes"] if node["id"] != 1]}, "no node loads a checkpoint"),
    ],
)
def test_each_fault_is_a_sentence(folder: Path, workflow: object, sentence: str) -> None:
    with pytest.raises(WorkflowRefused) as refused:
        plan(folder, Publication("house", workflow), CATALOG)
    assert any(sentence in fault.message for fault in refused.value.fields), refused.value.fields


def test_a_text_that_cannot_be_written_is_refused(folder: Path) -> None:
    workflow = json.loads(json.dumps(drawn()).replace("a house", "\\ud800"))
    with pytest.raises(WorkflowRefused, match="cannot be a widget"):
        plan(folder, Publication("house", workflow), CATALOG)


def test_a_widget_that_is_there_is_replaced_only_when_asked(folder: Path) -> None:
    published(folder, Publication("house", drawn()))
    before = {path.name: path.read_bytes() for path in (folder / "house").iterdir()}
    with pytest.raises(WidgetExists):
        plan(folder, Publication("house", drawn()), CATALOG)
    assert {path.name: path.read_bytes() for path in (folder / "house").iterdir()} == before


def test_replacing_keeps_what_the_artist_wrote_and_gives_the_titles_again(folder: Path) -> None:
    published(folder, Publication("house", drawn()))
    definition = folder / "house" / "widget.yaml"
    definition.write_text(definition.read_text().replace("title: House", "title: Written by hand"))
    (folder / "house" / "README.md").write_text("mine")
    workflow = drawn()
    workflow["nodes"][0]["widgets_values"] = ["another.safetensors"]
    planned = published(folder, Publication("house", workflow, replace=True))
    assert not planned.is_new
    assert library.load_one(folder / "house", CATALOG).title == "Written by hand"
    assert "another.safetensors" in (folder / "house" / "workflow.json").read_text()
    assert (folder / "house" / "README.md").read_text() == "mine"
    published(folder, Publication("house", workflow, replace=True, anew=True))
    assert library.load_one(folder / "house", CATALOG).title == "House"


def test_words_are_written_into_the_widget_yaml_that_is_kept(folder: Path) -> None:
    published(folder, Publication("house", drawn()))
    definition = folder / "house" / "widget.yaml"
    text = definition.read_text().replace(
        "description: Drawn in ComfyUI's editor.", "description: >-\n  Long\n  text.\n"
    )
    definition.write_text(text.replace("title: House", "title: House  # mine"))
    planned = published(
        folder, Publication("house", drawn(), replace=True, words=Words("Huts: all", "Paints #1\nhuts."))
    )
    assert "Its widget.yaml is kept as it is, with your words in it." in planned.sentences
    widget = library.load_one(folder / "house", CATALOG)
    assert (widget.title, widget.description) == ("Huts: all", "Paints #1\nhuts.")
    assert widget == planned.widget
    assert "# mine\n" in definition.read_text()
    published(folder, Publication("house", drawn(), replace=True, words=Words(title="Huts")))
    assert library.load_one(folder / "house", CATALOG).description == "Paints #1\nhuts."
    assert (
        "Its widget.yaml is kept as it is." in published(folder, Publication("house", drawn(), replace=True)).sentences
    )


def test_numbers_that_are_changed_in_the_drawing_alone_are_told(folder: Path) -> None:
    published(folder, Publication("house", drawn()))
    workflow = drawn()
    workflow["nodes"][4]["widgets_values"] = [8, "randomize", 12, 8.5, "dpmpp_2m", "karras", 1]
    workflow["nodes"][0]["widgets_values"] = ["another.safetensors"]
    told = plan(folder, Publication("house", workflow, replace=True), CATALOG).sentences
    assert [sentence for sentence in told if "callers still get" in sentence] == [
        'model is "another.safetensors" in the drawing; callers still get "artist", as widget.yaml says.',
        "steps is 12 in the drawing; callers still get 20, as widget.yaml says.",
        'sampler is "dpmpp_2m" in the drawing; callers still get "Euler Karras", as widget.yaml says.',
    ]
    published(folder, Publication("house", workflow, replace=True))
    again = plan(folder, Publication("house", workflow, replace=True), CATALOG).sentences
    assert not any("callers still get" in sentence for sentence in again), "what did not change is not told twice"


def test_a_drawing_that_no_longer_fits_its_widget_is_refused(folder: Path) -> None:
    published(folder, Publication("house", drawn()))
    before = (folder / "house" / "workflow.json").read_bytes()
    workflow = drawn()
    workflow["nodes"][4]["title"] = "Renamed"
    with pytest.raises(WorkflowRefused) as refused:
        plan(folder, Publication("house", workflow, replace=True), CATALOG)
    assert any("KSampler" in fault.message for fault in refused.value.fields)
    assert (folder / "house" / "workflow.json").read_bytes() == before


def test_of_two_that_publish_one_name_at_once_the_second_hears_of_it(folder: Path) -> None:
    first, second = (plan(folder, Publication("house", drawn()), CATALOG) for _ in range(2))
    write(folder, first)
    with pytest.raises(WidgetExists):
        write(folder, second)
    assert {path.name for path in folder.iterdir()} == {"house"}


def test_a_publication_is_served_at_once_and_what_else_changed_is_not_lost(folder: Path) -> None:
    published(folder, Publication("first", drawn()))
    widgets = LivingWidgets(folder, CATALOG)
    published(folder, Publication("by_hand", drawn()))
    assert widgets.look() is None
    found = widgets.look()
    published(folder, Publication("sent", drawn()))
    widgets.adopt(widgets.read_again("sent"))
    assert set(widgets) == {"first", "sent"}
    assert found is not None
    widgets.adopt(found)
    assert set(widgets) == {"by_hand", "first", "sent"}
    assert widgets.look() is None
    assert widgets.look() is None


def test_a_folder_half_written_is_not_looked_at(folder: Path) -> None:
    published(folder, Publication("house", drawn()))
    hidden = folder / ".house-0123"
    hidden.mkdir()
    (hidden / "widget.yaml").write_text("torn")
    assert set(library.load(folder, CATALOG)) == {"house"}


def test_prompts_that_are_told_the_steps_follow_the_samplers_parameter(folder: Path) -> None:
    drawing = json.loads((Path(__file__).parents[3] / "workflows" / "txt2img" / "workflow.json").read_text("utf-8"))
    definition = plan(folder, Publication("again", drawing), CATALOG).widget.definition
    assert [name for name in definition.parameters if "steps" in name] == ["steps"]
    bound = {binding.node for binding in definition.bindings if binding.parameter == "steps"}
    assert bound == {"Sampler", "Prompt", "Negative prompt"}
