"""From values to the graph that runs."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.comfy.graph import Graph, Link, Node
from orchestrator.errors import ModelMismatch
from orchestrator.widgets.audit import graph_faults
from orchestrator.widgets.compile import ChosenLora, ChosenModels, CompiledGraph, compile_graph, start_at_step
from tests.unit.widgets.drawing import CATALOG, definition, drawing, make_widget

WIDGET = make_widget()
GIVEN = {"image": "aGVsbG8=", "prompt": "a heart", "seed": 5}
SD15 = ChosenModels("ned.safetensors", "sd15")


def compiled(models: ChosenModels = SD15, **given: object) -> CompiledGraph:
    return compile_graph(WIDGET, WIDGET.check(GIVEN | given).values, models, {"image": "up/a.png [temp]"})


def with_loras(*files: str) -> ChosenModels:
    loras = tuple(ChosenLora(file, 0.5 + number, 0.25 + number) for number, file in enumerate(files))
    return replace(SD15, loras=loras)


def node(graph: Graph, title: str) -> Node:
    return graph.nodes[graph.by_title(title)]


def titles(graph: Graph) -> list[str]:
    return [node.title for node in graph.nodes.values()]


def test_every_binding_sets_its_input() -> None:
    graph = compiled(steps=30, cfg_scale=5.5, clip_skip=3, sampler="Euler a", negative_prompt="ugly").graph
    assert node(graph, "Picture").inputs["image"] == "up/a.png [temp]"
    assert node(graph, "Checkpoint").inputs["ckpt_name"] == "ned.safetensors"
    assert node(graph, "Prompt").inputs["text"] == "a heart"
    assert node(graph, "Negative").inputs["text"] == "ugly"
    assert node(graph, "CLIP skip").inputs["stop_at_clip_layer"] == -3
    sampler = node(graph, "Sampler").inputs
    assert (sampler["steps"], sampler["cfg"], sampler["noise_seed"]) == (30, 5.5, 5)
    assert (sampler["sampler_name"], sampler["scheduler"]) == ("euler_ancestral", "normal")
    assert sampler["end_at_step"] == 10000


def test_the_answer_is_the_output_nodes_and_what_does_not_feed_it_is_dropped() -> None:
    answer = compiled()
    assert answer.graph.nodes[answer.output_node].title == "Result"
    assert answer.checkpoint == "ned.safetensors"
    assert "A look" not in titles(answer.graph)


def test_nodes_that_read_what_the_caller_wrote_are_told_with_its_parameter() -> None:
    answer = compiled()
    named = {answer.graph.nodes[node].title: parameter for node, parameter in answer.texts.items()}
    assert named == {"Prompt": "prompt", "Negative": "negative_prompt"}


def test_without_a_lora_the_loader_leaves_and_its_consumers_get_its_sources() -> None:
    graph = compiled(clip_skip=2).graph
    assert "LoraLoader" not in graph.classes
    assert node(graph, "Sampler").inputs["model"] == Link("1", 0)
    assert node(graph, "CLIP skip").inputs["clip"] == Link("1", 1)


def test_one_lora_takes_the_drawn_loaders_place() -> None:
    graph = compiled(with_loras("a.safetensors"), clip_skip=2).graph
    assert graph.nodes["2"] == Node(
        "LoraLoader",
        {
            "model": Link("1", 0),
            "clip": Link("1", 1),
            "lora_name": "a.safetensors",
            "strength_model": 0.25,
            "strength_clip": 0.5,
        },
        "LoRA",
    )
    assert node(graph, "Sampler").inputs["model"] == Link("2", 0)


def test_several_loras_are_chained_in_order_and_the_last_feeds_the_consumers() -> None:
    graph = compiled(with_loras("a", "b", "a"), clip_skip=2).graph
    chain = [graph.nodes[id_] for id_ in ("2", "14", "15")]
    assert [loader.inputs["lora_name"] for loader in chain] == ["a", "b", "a"]
    assert [loader.inputs["strength_clip"] for loader in chain] == [0.5, 1.5, 2.5]
    assert [loader.inputs["strength_model"] for loader in chain] == [0.25, 1.25, 2.25]
    assert [loader.inputs["model"] for loader in chain] == [Link("1", 0), Link("2", 0), Link("14", 0)]
    assert [loader.inputs["clip"] for loader in chain] == [Link("1", 1), Link("2", 1), Link("14", 1)]
    assert [loader.title for loader in chain] == ["LoRA", "LoRA 2", "LoRA 3"]
    assert node(graph, "Sampler").inputs["model"] == Link("15", 0)
    assert node(graph, "CLIP skip").inputs["clip"] == Link("15", 1)


def test_clip_skip_1_and_sdxl_leave_the_clip_skip_node_out() -> None:
    for graph in (compiled(clip_skip=1).graph, compiled(replace(SD15, family="sdxl"), clip_skip=2).graph):
        assert "CLIP skip" not in titles(graph)
        assert node(graph, "Prompt").inputs["clip"] == node(graph, "Negative").inputs["clip"] == Link("1", 1)
    assert "CLIP skip" in titles(compiled(clip_skip=2).graph)


def test_a_bypass_needs_all_its_conditions_and_an_absent_value_meets_none() -> None:
    assert "Colours" not in titles(compiled(dither=0).graph)
    assert "Colours" in titles(compiled(replace(SD15, family="sdxl"), dither=0).graph)
    assert "Colours" in titles(compiled().graph)
    assert node(compiled(dither=0).graph, "Result").inputs["images"] == Link("10", 0)


def test_a_choice_sets_its_drawn_value_and_one_not_listed_leaves_the_artists() -> None:
    assert node(compiled(dither=4).graph, "Colours").inputs["dither"] == "bayer-4"
    assert node(compiled(dither=3).graph, "Colours").inputs["dither"] == "none"
    assert node(compiled().graph, "Colours").inputs["dither"] == "none"


def test_bypassed_nodes_in_a_row_pass_on_the_source_of_the_first() -> None:
    row: dict[str, Any] = drawing()
    row["20"] = {"class_type": "ImageInvert", "inputs": {"image": ["7", 0]}, "_meta": {"title": "Invert again"}}
    row["8"]["inputs"]["pixels"] = ["20", 0]
    for order in (["Invert", "Invert again"], ["Invert again", "Invert"]):
        said: dict[str, Any] = definition()
        said["bypass"] = [{"node": title, "when": {"invert": [0]}} for title in order]
        widget = make_widget(said, row)
        graph = compile_graph(widget, widget.check(GIVEN).values, SD15, {"image": "a"}).graph
        assert node(graph, "Encode").inputs["pixels"] == Link("6", 0)


def test_the_drawing_itself_is_not_changed() -> None:
    before = WIDGET.graph.to_api()
    compiled(with_loras("a", "b"), clip_skip=2, steps=3)
    assert WIDGET.graph.to_api() == before


def test_a_checkpoint_of_another_family_is_refused() -> None:
    with pytest.raises(ModelMismatch, match="sd15 or sdxl checkpoints; this one is flux"):
        compiled(replace(SD15, family="flux"))


@pytest.mark.parametrize(
    ("denoise", "steps_run"), [(0.2, 6), (0.3, 8), (0.4, 11), (0.5, 13), (0.6, 16), (0.7, 18), (0.75, 19), (0.8, 21)]
)
def test_a_strength_runs_as_many_of_25_steps_as_a1111_does(denoise: float, steps_run: int) -> None:
    assert 25 - start_at_step(25, denoise) == steps_run
    sampler = node(compiled(steps=25, denoising_strength=denoise).graph, "Sampler").inputs
    assert sampler["start_at_step"] == 25 - steps_run


@given(st.integers(1, 150), st.floats(0, 1))
def test_at_least_one_step_and_at_most_all_are_run(steps: int, denoise: float) -> None:
    assert 0 <= start_at_step(steps, denoise) <= steps - 1
    assert start_at_step(steps, 0) == steps - 1
    assert start_at_step(steps, 1) == 0


def test_steps_that_are_drawn_and_not_bound_are_reckoned_with() -> None:
    said: dict[str, Any] = definition()
    del said["parameters"]["steps"]
    said["bindings"] = [binding for binding in said["bindings"] if binding["parameter"] != "steps"]
    widget = make_widget(said)
    graph = compile_graph(widget, widget.check(GIVEN | {"denoising_strength": 0.5}).values, SD15, {"image": "a"}).graph
    assert node(graph, "Sampler").inputs["start_at_step"] == 20 - 1 - 10


requests = st.fixed_dictionaries(
    {},
    optional={
        "steps": st.integers(1, 150),
        "cfg_scale": st.floats(0, 30),
        "denoising_strength": st.floats(0, 1),
        "sampler": st.sampled_from([sampler.name for sampler in make_widget().samplers["sampler"]]),
        "seed": st.integers(-1, 2**64 - 1),
        "clip_skip": st.integers(1, 12),
        "invert": st.integers(0, 1),
        "dither": st.integers(0, 4),
        "prompt": st.text(min_size=1, max_size=20).filter(lambda text: "<" not in text),
    },
)
loras = st.lists(st.sampled_from(["a.safetensors", "b.safetensors"]), max_size=4)


@settings(deadline=None)
@given(requests, st.sampled_from(["sd15", "sdxl"]), loras)
def test_every_compiled_graph_is_one_that_the_backend_takes(
    given: dict[str, object], family: str, loras: list[str]
) -> None:
    answer = compiled(replace(with_loras(*loras), family=family), **given)
    assert list(graph_faults(answer.graph, CATALOG)) == []
    assert sum(node.class_type == "LoraLoader" for node in answer.graph.nodes.values()) == len(loras)
