"""What is drawn in the shipped workflows are the widgets' defaults, in titled groups."""

import json
from pathlib import Path

import pytest

from orchestrator.comfy.known import known_catalog
from orchestrator.widgets import library
from orchestrator.widgets.compile import start_at_step
from orchestrator.widgets.samplers import find_sampler

WORKFLOWS = Path(__file__).parents[3] / "workflows"
pytestmark = pytest.mark.parametrize("name", ["inpaint", "txt2img"])


def read(name: str, file: str) -> dict:
    return json.loads((WORKFLOWS / name / file).read_text("utf-8"))


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


def test_the_drawn_lora_does_nothing_to_a_first_run(name):
    graph = library.load(WORKFLOWS, known_catalog())[name].graph
    loader = next(node for node in graph.nodes.values() if node.class_type == "LoraLoader")
    assert (loader.inputs["strength_model"], loader.inputs["strength_clip"]) == (0, 0)


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
