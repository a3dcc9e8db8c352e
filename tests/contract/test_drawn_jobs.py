"""What a job opens as in the editor runs as the graph that ran: node for node, class and inputs.

Our own conversion is the judge here, which the editor judges elsewhere; tests/browser asks the editor itself.
"""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.comfy.catalog import Catalog
from orchestrator.comfy.graph import Graph, Link, Node
from orchestrator.comfy.known import core_object_info, known_catalog
from orchestrator.widgets.compile import ChosenLora, ChosenModels, CompiledGraph, compile_graph
from orchestrator.widgets.conversion import convert, without_editor_fields
from orchestrator.widgets.drawing import Changes, Template, draw
from orchestrator.widgets.drawing.written import means
from orchestrator.widgets.samplers import SAMPLERS
from tests.contract.golden import CASES, REQUESTS, compiled, widgets
from tests.contract.test_conversion_equals_the_editor import DATA
from tests.unit.widgets.conversion import drawings

CATALOG = known_catalog()


def opened(workflow: object) -> Graph:
    """The graph that the workflow would run as, were it saved and read again."""
    return without_editor_fields(convert(json.loads(json.dumps(workflow)), CATALOG), CATALOG)


def assert_same(answer: CompiledGraph) -> None:
    drawn = opened(answer.workflow)
    assert drawn.nodes.keys() == answer.graph.nodes.keys()
    for id_, node in answer.graph.nodes.items():
        other = drawn.nodes[id_]
        assert (other.class_type, other.title, other.inputs.keys()) == (node.class_type, node.title, node.inputs.keys())
        for name, value in node.inputs.items():
            assert means(other.inputs[name], value), (node.title, name, other.inputs[name], value)


@pytest.mark.parametrize("name", CASES)
def test_a_golden_case_opens_as_it_ran(name: str) -> None:
    assert_same(compiled(CASES[name]))


@pytest.mark.parametrize("name", CASES)
def test_nothing_overlaps_and_every_link_is_drawn_from_both_ends(name: str) -> None:
    workflow: Any = json.loads(json.dumps(compiled(CASES[name]).workflow))
    boxes = [(node["id"], *node["pos"], *node["size"]) for node in workflow["nodes"]]
    for one, x, y, w, h in boxes:
        for other, x2, y2, w2, h2 in boxes:
            apart = x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y
            assert one == other or apart, (one, other)
    nodes = {node["id"]: node for node in workflow["nodes"]}
    assert len({link[0] for link in workflow["links"]}) == len(workflow["links"])
    for id_, origin, slot, target, place, _ in workflow["links"]:
        assert id_ in nodes[origin]["outputs"][slot]["links"]
        assert nodes[target]["inputs"][place]["link"] == id_
    ends = [link for node in workflow["nodes"] for output in node["outputs"] for link in output["links"] or ()]
    assert sorted(ends) == sorted(link[0] for link in workflow["links"])
    assert workflow["last_node_id"] >= max(nodes)
    assert workflow["last_link_id"] >= max(link[0] for link in workflow["links"])


def test_added_loaders_stand_in_a_row_in_the_drawn_ones_frame() -> None:
    workflow: Any = compiled(CASES["inpaint-lora-3"]).workflow
    loaders = [node for node in workflow["nodes"] if node["type"] == "LoraLoader"]
    assert [node["pos"] for node in loaders] == [[650, 0], [950, 0], [1250, 0]]
    models = next(group["bounding"] for group in workflow["groups"] if group["title"] == "Models")
    assert models == [330, -70, 880 + 600, 412]
    skip = next(node for node in workflow["nodes"] if node["title"] == "CLIP skip")
    assert skip["pos"][0] == 950 + 600


def test_what_is_left_out_is_bypassed_and_what_then_feeds_nothing_is_muted() -> None:
    workflow: Any = compiled(CASES["inpaint-clip-skip-2"]).workflow
    modes = {node["title"]: node["mode"] for node in workflow["nodes"]}
    bypassed = {"LoRA", "Fill", "Masked start", "Inpainting model", "Crop to mask", "Paste back"}
    assert {title for title, mode in modes.items() if mode == 4} == bypassed
    assert {title for title, mode in modes.items() if mode == 2} == set()


def test_a_seed_stays_as_it_is_when_the_job_is_run_again() -> None:
    workflow: Any = compiled(CASES["txt2img"]).workflow
    values = [value for node in workflow["nodes"] for value in node.get("widgets_values") or ()]
    assert "randomize" not in values
    assert "fixed" in values


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(
    ["{a|b} // c", "/* x */ \\{a\\}", "a\r\nb", "%Seed.value%", "a\\", "{", "}", "|", "//", "/*"]
)
LORAS = st.lists(st.floats(-2, 2).map(lambda x: round(x, 2)), max_size=4)


@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(sorted(REQUESTS)),
    family=st.sampled_from(["sd15", "sdxl"]),
    prompts=st.tuples(TEXTS, TEXTS),
    seed=st.integers(0, 2**64 - 1),
    numbers=st.tuples(st.integers(1, 150), st.floats(1, 30), st.floats(0, 1), st.integers(1, 12)),
    fill=st.integers(0, 3),
    sampler=st.sampled_from([sampler.name for sampler in SAMPLERS]),
    channels=st.sampled_from([4, 9]),
    weights=LORAS,
)
def test_any_request_opens_as_it_ran(
    name: str,
    family: str,
    prompts: tuple[str, str],
    seed: int,
    numbers: tuple[int, float, float, int],
    fill: int,
    sampler: str,
    channels: int,
    weights: list[float],
) -> None:
    widget = widgets()[name]
    steps, cfg, strength, clip_skip = numbers
    # No backslash before a brace: see `written.literal`.
    texts = [
        text.replace("\\{", "{").replace("\\}", "}").replace("\\|", "|").replace("<lora", "lora") for text in prompts
    ]
    raw = {
        **REQUESTS[name],
        "prompt": texts[0] or "a",
        "negative_prompt": texts[1],
        "seed": seed,
        "steps": steps,
        "cfg_scale": cfg,
        "denoising_strength": strength,
        "clip_skip": clip_skip,
        "inpainting_fill": fill,
        "sampler": sampler,
    }
    values = widget.check({key: value for key, value in raw.items() if key in widget.definition.parameters}).values
    loras = tuple(ChosenLora(f"{n}.safetensors", weight, weight / 2) for n, weight in enumerate(weights))
    given_ = (*widget.definition.pictures, *widget.definition.masks)
    pictures = {picture: f"orchestrator/{picture}.png [temp]" for picture in given_}
    assert_same(compile_graph(widget, values, ChosenModels("c.safetensors", family, loras, channels), pictures))


def recorded() -> list[Any]:
    """The workflows that the editor was recorded with: primitives, reroutes, subgraphs in one another and so on."""
    files = ("editor-templates.jsonl.gz", "editor-cases.jsonl.gz")
    lines = [line for file in files for line in gzip.decompress((DATA / file).read_bytes()).decode().splitlines()]
    return [pytest.param(pair["workflow"], id=pair["name"]) for pair in map(json.loads, lines)]


def with_values_of_its_own(graph: Graph) -> Graph:
    """Every number and text differs from what was drawn, and from that of any other input."""
    count = iter(range(1, 10_000))
    nodes = {}
    for id_, node in graph.nodes.items():
        inputs = {name: changed(value, next(count)) for name, value in node.inputs.items()}
        nodes[id_] = Node(node.class_type, inputs, node.title)
    return Graph(nodes)


def changed(value: Any, number: int) -> Any:
    if isinstance(value, str):
        return f"{{text|{number}}} // number [temp]"  # a picture is named with its folder
    return value if isinstance(value, bool | Link | tuple) or not isinstance(value, int | float) else number


@pytest.mark.parametrize("workflow", recorded())
def test_every_value_of_any_workflow_can_be_shown(workflow: Any) -> None:
    template = Template.of(workflow, CATALOG)
    assert opened(json.loads(template.text)) == template.graph
    graph = with_values_of_its_own(template.graph)
    drawn = opened(draw(template, graph, Changes()))
    assert drawn.nodes.keys() == graph.nodes.keys()
    for id_, node in graph.nodes.items():
        for name, value in node.inputs.items():
            assert means(drawn.nodes[id_].inputs[name], value), (id_, name, drawn.nodes[id_].inputs[name], value)


def test_values_saved_by_name_are_drawn_as_the_list_that_the_editor_reads() -> None:
    """By name they stay only for a pack's class, of which a script of the pack may read them."""
    info: Any = core_object_info()
    size = {"height": 64, "width": 32, "batch_size": 1}
    sockets = [drawings.socket("width", 1, "INT", "width"), drawings.socket("height", 2, "INT", "height")]
    inner = drawings.node(1, "EmptyLatentImage", [8, 8, 1], inputs=sockets)
    shown = drawings.subgraph(
        "s", [inner], [[1, -10, 0, 1, 0], [2, -10, 1, 1, 1]], inputs=[drawings.port("w", 1), drawings.port("h", 2)]
    )
    drawn = drawings.workflow(
        drawings.node(1, "EmptyLatentImage", size),
        drawings.node(2, "Packed", size),
        drawings.node(3, "s", {"h": 128, "w": 256}),
        definitions={"subgraphs": [shown]},
    )
    packed = info["EmptyLatentImage"] | {"python_module": "custom_nodes.some"}
    template = Template.of(drawn, Catalog.from_object_info(info | {"Packed": packed}))
    first, second, third = (node["widgets_values"] for node in draw(template, template.graph, Changes())["nodes"])
    assert (first, third) == ([32, 64, 1], [256, 128])
    assert second == size


@pytest.mark.parametrize("workflow", recorded())
def test_any_node_can_be_muted_in_one_of_the_places_where_its_subgraph_stands(workflow: Any) -> None:
    template = Template.of(workflow, CATALOG)
    for gone in list(template.graph.nodes)[:12]:
        kept = {id_: node for id_, node in template.graph.nodes.items() if id_ != gone}
        if not kept:
            continue
        drawn = opened(draw(template, Graph(kept), Changes()))
        assert drawn.nodes.keys() == kept.keys()
