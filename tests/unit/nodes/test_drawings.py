"""The two files of each workflow tell the same, and what is drawn are the widget's defaults."""

import json
from pathlib import Path

import pytest

from orchestrator.comfy.known import known_catalog
from orchestrator.widgets import library
from orchestrator.widgets.compile import start_at_step
from orchestrator.widgets.samplers import find_sampler

WORKFLOWS = Path(__file__).parents[3] / "workflows"
EDITOR_ONLY = {"PrimitiveNode", "MarkdownNote"}
"""Nodes that the editor draws and does not export."""

pytestmark = pytest.mark.parametrize("name", ["inpaint", "txt2img"])


def read(name: str, file: str) -> dict:
    return json.loads((WORKFLOWS / name / file).read_text("utf-8"))


def test_drawing_and_export_hold_the_same_nodes(name):
    drawn = {str(node["id"]): node for node in read(name, "workflow.json")["nodes"] if node["type"] not in EDITOR_ONLY}
    exported = read(name, "workflow_api.json")
    assert exported.keys() == drawn.keys()
    for id_, node in exported.items():
        assert (node["class_type"], node["_meta"]["title"]) == (drawn[id_]["type"], drawn[id_]["title"])
        assert drawn[id_]["mode"] == 0, "a bypassed node is not exported"


def test_drawing_and_export_hold_the_same_links_and_values(name):
    drawing = read(name, "workflow.json")
    nodes = {node["id"]: node for node in drawing["nodes"]}
    links = {link[0]: link for link in drawing["links"]}
    for id_, node in read(name, "workflow_api.json").items():
        drawn = nodes[int(id_)]
        fed = {i["name"]: links[i["link"]] for i in drawn["inputs"] if i["link"] is not None}
        wired = {key: [str(link[1]), link[2]] for key, link in fed.items() if nodes[link[1]]["type"] not in EDITOR_ONLY}
        assert {key: value for key, value in node["inputs"].items() if isinstance(value, list)} == wired
        values = [value for key, value in node["inputs"].items() if key not in fed]
        assert all(value in drawn.get("widgets_values", []) for value in values), drawn["title"]
        for key in fed.keys() - wired.keys():
            assert node["inputs"][key] == nodes[fed[key][1]]["widgets_values"][0], (drawn["title"], key)


def test_drawn_values_are_the_defaults(name):
    widget = library.load(WORKFLOWS, known_catalog())[name]
    for binding in widget.definition.bindings:
        default = getattr(widget.definition.parameters[binding.parameter], "default", None)
        drawn = widget.graph.nodes[widget.nodes[binding.node]].inputs[binding.input]
        if binding.parameter in ("model", "seed") or default is None or binding.choices is not None:
            continue
        expected = {
            "value": default,
            "negative": -default if isinstance(default, int) else None,
            "start_at_step": start_at_step(25, 0.7),
            "sampler_name": find_sampler("DPM++ 2M Karras").sampler_name,
            "scheduler": find_sampler("DPM++ 2M Karras").scheduler,
        }[binding.form]
        assert drawn == expected, binding


def test_every_part_of_the_drawing_lies_in_a_titled_group(name):
    drawing = read(name, "workflow.json")
    groups = [(group["title"], *group["bounding"]) for group in drawing["groups"]]
    assert len({group["color"] for group in drawing["groups"]}) == len(groups)
    for node in drawing["nodes"]:
        if node["type"] == "MarkdownNote":
            continue
        (left, top), (width, height) = node["pos"], node["size"]
        around = [
            title
            for title, x, y, w, h in groups
            if x <= left and y <= top and left + width <= x + w and top + height <= y + h
        ]
        assert len(around) == 1, (node["title"], around)
