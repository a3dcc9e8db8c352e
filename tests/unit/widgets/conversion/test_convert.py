"""What the converter does where the editor gives no measure: it fails there, loses what was drawn, or draws lots."""

import json
from typing import Any

import pytest

from orchestrator.comfy.catalog import Catalog
from orchestrator.errors import WorkflowError
from orchestrator.widgets.conversion import convert
from tests.unit.widgets.conversion.drawings import CATALOG, inputs, node, port, socket, subgraph, workflow


def refusal(drawn: object) -> str:
    with pytest.raises(WorkflowError) as refused:
        convert(drawn, CATALOG)
    return refused.value.detail


def text_node(id_: int, text: str, **more: Any) -> dict[str, Any]:
    return node(id_, "CLIPTextEncode", [text], **more)


def test_an_untitled_node_has_the_title_that_the_editor_shows() -> None:
    api: Any = convert(workflow(node(1, "EmptyLatentImage"), node(2, "SaveLatent", title="Kept")), CATALOG).to_api()
    assert [made["_meta"]["title"] for made in api.values()] == ["Empty Latent Image", "Kept"]


def test_values_saved_by_name_are_taken_by_name() -> None:
    assert inputs(workflow(node(1, "EmptyLatentImage", {"height": 64, "unknown": 1})))["1"] == {
        "width": 512,
        "height": 64,
        "batch_size": 1,
    }


def test_a_link_that_is_gone_leaves_the_field_as_it_is() -> None:
    gone = node(1, "EmptyLatentImage", [64, 32, 1], inputs=[socket("width", 5, field="width")])
    assert inputs(workflow(gone))["1"]["width"] == 64
    assert inputs(workflow(gone, links=[[5, 99, 0, 1, 0, "INT"]]))["1"]["width"] == 64


def test_a_class_that_is_not_known_keeps_its_name_and_the_fields_that_have_sockets() -> None:
    sockets = [socket("image", 1), socket("name", None, field="name"), socket("seed", None, "INT", "seed")]
    sockets.append(socket("strength", None, "FLOAT", "strength"))
    drawn = workflow(
        node(1, "LoadImage", ["a.png", "image"]),
        node(2, "Stranger", ["x", 5, "randomize", 0.5], inputs=sockets),
        links=[[1, 1, 0, 2, 0, "IMAGE"]],
    )
    api: Any = convert(drawn, CATALOG).to_api()
    assert api["2"]["class_type"] == "Stranger"
    assert api["2"]["inputs"] == {"image": ["1", 0], "name": "x", "seed": 5, "strength": 0.5}


def test_a_class_that_is_not_known_and_saved_its_values_by_name_keeps_them() -> None:
    values = {"video": "a.mp4", "force_rate": 8, "videopreview": {"hidden": False}}
    sockets = [socket("video", None, "COMBO", "video"), socket("force_rate", None, "INT", "force_rate")]
    drawn = workflow(node(1, "VHS_LoadVideo", values, inputs=sockets))
    assert inputs(drawn)["1"] == {"video": "a.mp4", "force_rate": 8}


def test_set_and_get_nodes_are_led_through() -> None:
    drawn = workflow(
        node(1, "EmptyLatentImage"),
        node(2, "SetNode", ["latent"], inputs=[socket("LATENT", 1)]),
        node(3, "GetNode", ["latent"]),
        node(4, "SaveLatent", ["x"], inputs=[socket("samples", 2)]),
        links=[[1, 1, 0, 2, 0, "*"], [2, 3, 0, 4, 0, "*"]],
    )
    assert inputs(drawn)["4"]["samples"] == ["1", 0]
    assert inputs(drawn).keys() == {"1", "4"}


def encoder(**more: Any) -> dict[str, Any]:
    """A subgraph that shows the text of the prompt inside it."""
    inner = text_node(1, "inside", inputs=[socket("text", 1, field="text")])
    made = subgraph("encoder", [inner], [[1, -10, 0, 1, 0]], inputs=[port("words", 1)])
    return made | more


def test_two_nodes_of_one_subgraph_have_texts_of_their_own() -> None:
    drawn = workflow(node(5, "encoder", ["one"]), node(6, "encoder", ["two"]), definitions={"subgraphs": [encoder()]})
    assert {id_: given["text"] for id_, given in inputs(drawn).items()} == {"5:1": "one", "6:1": "two"}


@pytest.mark.parametrize("reverse", [False, True])
def test_nested_subgraphs_keep_their_values_in_whatever_order_they_are_defined(reverse: bool) -> None:
    outer = subgraph("outer", [node(1, "encoder", ["nested"])], [])
    definitions = [encoder(), outer]
    if reverse:
        definitions.reverse()
    drawn = workflow(node(5, "outer"), definitions={"subgraphs": definitions})
    assert inputs(drawn)["5:1:1"]["text"] == "nested"


def test_definitions_that_lie_in_one_another_are_found() -> None:
    outer = subgraph("outer", [node(1, "encoder", ["nested"])], [], definitions={"subgraphs": [encoder()]})
    assert inputs(workflow(node(5, "outer"), definitions={"subgraphs": [outer]}))["5:1:1"]["text"] == "nested"


def test_a_seed_shown_by_a_subgraph_takes_one_value_and_no_control() -> None:
    inner = node(1, "KSampler", [1, "randomize", 20, 8, "euler", "normal", 1])
    inner["inputs"] = [socket("seed", 1, field="seed"), socket("steps", 2, field="steps")]
    links = [[1, -10, 0, 1, 0], [2, -10, 1, 1, 1]]
    made = subgraph("sampler", [inner], links, inputs=[port("seed", 1), port("steps", 2)])
    for values in ([42, 7], [42, "fixed", 7]):
        given = inputs(workflow(node(5, "sampler", values), definitions={"subgraphs": [made]}))["5:1"]
        assert (given["seed"], given["steps"]) == (42, 7), "some editors save the control too"


def test_the_first_alternative_of_a_prompt_stands_and_comments_go() -> None:
    text = "a {red|{dark|light} blue} \\{heart\\} /* not this */ on //stone\nwood"
    assert inputs(workflow(text_node(1, text)))["1"]["text"] == "a red {heart}  on \nwood"
    assert inputs(workflow(text_node(1, "{{a|b} c|d} e}f")))["1"]["text"] == "a c e}f"


def test_a_picture_field_saved_as_an_upload_names_its_folder() -> None:
    file = {"filename": "a.png", "subfolder": "sub", "type": "output"}
    assert inputs(workflow(node(1, "LoadImageOutput", [file])))["1"]["image"] == "sub/a.png [output]"
    assert inputs(workflow(node(1, "LoadImageOutput", ["a.png"])))["1"]["image"] == "a.png [output]"


def test_a_choice_with_a_control_has_a_filter_too() -> None:
    declared = {"pick": ["COMBO", {"options": ["a"], "control_after_generate": True}], "size": ["INT", {}]}
    catalog = Catalog.from_object_info({"Pick": {"input": {"required": declared}, "output": []}})
    assert inputs(workflow(node(1, "Pick", ["b", "fixed", "", 5])), catalog)["1"] == {"pick": "b", "size": 5}


def test_a_long_chain_of_reroutes_is_followed() -> None:
    chain = [node(id_, "Reroute", inputs=[socket("", id_)]) for id_ in range(2, 3000)]
    links = [[id_, id_ - 1, 0, id_, 0, "*"] for id_ in range(2, 3001)]
    end = node(3000, "SaveLatent", ["x"], inputs=[socket("samples", 3000)])
    assert inputs(workflow(node(1, "EmptyLatentImage"), *chain, end, links=links))["3000"]["samples"] == ["1", 0]


def test_links_in_a_circle_name_node_and_input() -> None:
    drawn = workflow(
        node(1, "Reroute", inputs=[socket("", 1)]),
        node(2, "SaveLatent", ["x"], title="Keep", inputs=[socket("samples", 2)]),
        links=[[1, 1, 0, 1, 0, "*"], [2, 1, 0, 2, 0, "*"]],
    )
    assert refusal(drawn) == "node 'Keep' (id 2), input 'samples': its link leads in a circle"


@pytest.mark.parametrize("number", ["NaN", "1e400", "-Infinity", "[[1, NaN]]"])
def test_a_number_that_json_does_not_know_names_node_and_input(number: str) -> None:
    """Python reads and writes them, and what it writes no other reader takes."""
    drawn = workflow(node(1, "EmptyLatentImage", [64, json.loads(number), 1], title="Size"))
    assert refusal(drawn) == "node 'Size' (id 1), input 'height': JSON has no such number"


def test_a_group_node_is_refused_with_a_mend() -> None:
    assert refusal(workflow(node(1, "workflow>mine"))) == (
        "node 'workflow>mine' (id 1): is a group node; make a subgraph of it in the editor and save again"
    )


def test_a_subgraph_that_holds_itself_is_refused() -> None:
    made = subgraph("loop", [node(1, "loop")], [])
    assert "the subgraph 'loop' holds itself" in refusal(workflow(node(1, "loop"), definitions={"subgraphs": [made]}))


def test_subgraphs_that_multiply_without_end_are_refused() -> None:
    made = [subgraph(f"s{depth}", [node(1, f"s{depth + 1}"), node(2, f"s{depth + 1}")], []) for depth in range(30)]
    drawn = workflow(node(1, "s0"), definitions={"subgraphs": [*made, subgraph("s30", [text_node(1, "x")], [])]})
    assert "more than 10000 drawings" in refusal(drawn)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ([], "a saved workflow is a JSON object"),
        (
            {"1": {"class_type": "SaveImage", "inputs": {}}},
            "this is the API format; use the file that the editor's File → Export writes",
        ),
        ({}, "there is no list of nodes"),
        ({"nodes": {}}, "the workflow: nodes is not a list"),
        ({"nodes": []}, "no node of the workflow runs"),
        ({"nodes": [{"id": 1}]}, "the workflow: node 1 has no type"),
        ({"nodes": [{"type": "Note"}]}, "the workflow: a node has no id"),
        ({"nodes": [node(1, "Note"), node(1, "Note")]}, "the workflow: two nodes have the id 1"),
        ({"nodes": [], "links": [[1, 2]]}, "the workflow: a link is neither a list nor an object"),
        ({"nodes": [], "links": [[1, None, 0, 2, 0]]}, "a link does not say where it comes from"),
        ({"nodes": [], "definitions": {"subgraphs": [{}]}}, "a subgraph has no id"),
        (
            {"nodes": [], "definitions": {"subgraphs": [{"id": "a", "name": "Fill"}]}},
            "the subgraph 'Fill': nodes is not",
        ),
    ],
)
def test_a_malformed_file_is_refused_in_a_sentence(broken: object, said: str) -> None:
    assert said in refusal(broken)
