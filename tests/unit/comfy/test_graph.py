import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.comfy.graph import Graph, Link, Node
from orchestrator.errors import WorkflowError
from tests.unit.comfy.graphs import picture_graph


def test_a_list_of_node_and_slot_is_a_link_and_other_lists_are_values():
    inputs = {"model": ["2", 1], "sizes": [1, 2], "flagged": ["2", True], "nothing": None}
    graph = Graph.from_api({"1": {"class_type": "A", "inputs": inputs}, "2": {"class_type": "B", "inputs": {}}})
    read = graph.nodes["1"].inputs
    assert read["model"] == Link("2", 1)
    assert isinstance(read["model"], Link)
    assert not isinstance(read["sizes"], Link)
    assert not isinstance(read["flagged"], Link)
    assert read["nothing"] is None


def test_the_title_is_the_editors_or_else_the_class():
    graph = picture_graph()
    assert graph.nodes["4"].title == "Sampler"
    assert graph.nodes["8"].title == "VAEDecode"


def test_by_title_finds_the_one_node_and_refuses_none_and_two():
    nodes = {key: Node("A", {}, title) for key, title in [("1", "One"), ("2", "Two"), ("3", "Two")]}
    graph = Graph(nodes)
    assert graph.by_title("One") == "1"
    with pytest.raises(WorkflowError, match='no node titled "Three"'):
        graph.by_title("Three")
    with pytest.raises(WorkflowError, match='2 nodes are titled "Two"'):
        graph.by_title("Two")


def test_classes_are_those_of_the_nodes():
    assert picture_graph().classes == {
        "LoadImage",
        "CheckpointLoaderSimple",
        "VAEEncode",
        "KSampler",
        "VAEDecode",
        "SaveImage",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], "API format"),
        ({}, "at least one node"),
        ({"nodes": [], "links": []}, "export the workflow in the API format"),
        ({"1": "x"}, "Node 1 is not an object"),
        ({"1": {"inputs": {}}}, "Node 1 has no class_type"),
        ({"1": {"class_type": "A", "inputs": []}}, r"Node 1 \(A\): inputs"),
        ({"1": {"class_type": "A", "inputs": {"x": ["7", 0]}, "_meta": {"title": "T"}}}, '"T": input x .* node 7'),
    ],
)
def test_a_malformed_graph_is_refused_with_the_node_named(value, text):
    with pytest.raises(WorkflowError, match=text):
        Graph.from_api(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_a_graph_goes_to_json_and_back_unchanged(inputs):
    node = {"class_type": "A", "inputs": inputs, "_meta": {"title": "T"}}
    # A value that looks like a link needs the node that it names.
    names = {value[0] for value in inputs.values() if isinstance(value, list) and value and isinstance(value[0], str)}
    api = {name: {"class_type": "B", "inputs": {}, "_meta": {"title": "B"}} for name in names} | {"node": node}
    assert json.loads(json.dumps(Graph.from_api(api).to_api())) == api
