"""What `POST /prompt` answers to bad graphs, in ComfyUI's words (as recorded from 0.3.64)."""

import copy
from typing import Any

import pytest

from orchestrator.embedded.monitor import Monitor
from orchestrator.embedded.validation import Verdict, validate
from tests.unit.embedded.graphs import STEPS_GRAPH, Bench, node

CATALOGUE = Bench(Monitor()).catalogue


def judge(**changes: Any) -> Verdict:
    return validate({**copy.deepcopy(STEPS_GRAPH), **changes}, CATALOGUE)


def errors(verdict: Verdict, node_id: str) -> list[dict[str, Any]]:
    assert verdict.error is not None
    assert verdict.error["type"] == "prompt_outputs_failed_validation"
    assert list(verdict.node_errors) == [node_id]
    assert verdict.node_errors[node_id]["dependent_outputs"] == ["3"]
    found: list[dict[str, Any]] = verdict.node_errors[node_id]["errors"]
    return found


def test_a_good_graph_names_its_outputs() -> None:
    assert judge() == Verdict(("3",))


@pytest.mark.parametrize(
    "graph", [None, [], "text", {"1": 3}, {"1": {"inputs": {}}}, {"1": {"class_type": "Show", "inputs": []}}]
)
def test_what_is_no_graph_is_an_invalid_prompt(graph: Any) -> None:
    verdict = validate(graph, CATALOGUE)
    assert verdict.error is not None
    assert verdict.error["type"] == "invalid_prompt"


def test_an_unknown_class_is_an_invalid_prompt_that_names_it() -> None:
    error = judge(**{"2": node("NoSuchNode")}).error
    assert error == {
        "type": "invalid_prompt",
        "message": "Cannot execute because node NoSuchNode does not exist.",
        "details": "Node ID '#2'",
        "extra_info": {},
    }


def test_a_graph_without_output_nodes_is_refused() -> None:
    error = validate({"1": node("Number", value=1, mode="plain")}, CATALOGUE).error
    assert error == {"type": "prompt_no_outputs", "message": "Prompt has no outputs", "details": "", "extra_info": {}}


def test_each_bad_value_of_a_node_is_named() -> None:
    found = errors(judge(**{"1": node("Number", value=-5, mode="nope")}), "1")
    config = ["INT", {"default": 0, "min": 0, "max": 9}]
    assert found == [
        {
            "type": "value_smaller_than_min",
            "message": "Value -5 smaller than min of 0",
            "details": "value",
            "extra_info": {"input_name": "value", "input_config": config, "received_value": -5},
        },
        {
            "type": "value_not_in_list",
            "message": "Value not in list",
            "details": "mode: 'nope' not in ['plain', 'twice']",
            "extra_info": {"input_name": "mode", "input_config": [["plain", "twice"], {}], "received_value": "nope"},
        },
    ]


@pytest.mark.parametrize(
    ("value", "kind", "details"),
    [
        (10, "value_bigger_than_max", "value"),
        ("many", "invalid_input_type", "value, many, invalid literal for int() with base 10: 'many'"),
        ([1, 2, 3], "bad_linked_input", "value"),
    ],
)
def test_a_value_out_of_range_or_type_is_named(value: Any, kind: str, details: str) -> None:
    (found,) = errors(judge(**{"1": node("Number", value=value, mode="plain")}), "1")
    assert (found["type"], found["details"]) == (kind, details)


def test_a_missing_input_is_named() -> None:
    (found,) = errors(judge(**{"1": node("Number", mode="plain")}), "1")
    assert found == {
        "type": "required_input_missing",
        "message": "Required input is missing",
        "details": "value",
        "extra_info": {"input_name": "value"},
    }


def test_a_link_of_the_wrong_type_is_named() -> None:
    (found,) = errors(
        judge(**{"1": node("Number", value=["2", 0], mode="plain"), "2": node("Steps", number=["1", 0])}), "1"
    )
    assert found["type"] == "return_type_mismatch"
    assert found["details"] == "value, received_type(NUMBER) mismatch input_type(INT)"


def test_a_link_to_an_output_that_is_not_there_blames_the_node_that_has_it() -> None:
    (found,) = errors(judge(**{"2": node("Steps", number=["1", 5])}), "2")
    assert found["type"] == "exception_during_inner_validation"
    assert found["details"] == "tuple index out of range"
    assert found["extra_info"]["exception_type"] == "IndexError"
    assert found["extra_info"]["linked_node"] == ["2", 0]


def test_a_link_to_a_node_that_is_not_there_is_refused() -> None:
    (found,) = errors(judge(**{"3": node("Show", number=["9", 0])}), "3")
    assert (found["type"], found["details"]) == ("exception_during_validation", "'9'")


def test_a_circle_is_refused() -> None:
    found = judge(**{"1": node("Steps", number=["2", 0])})
    assert found.outputs == ()
    assert "cycle" in str(found.node_errors)


def test_a_class_may_complain_itself() -> None:
    verdict = validate({"3": node("Fresh file", name="nowhere")}, CATALOGUE)
    (found,) = errors(verdict, "3")
    assert found == {
        "type": "custom_validation_failed",
        "message": "Custom validation failed for node",
        "details": "name - no file nowhere",
        "extra_info": {"input_name": "name"},
    }


def test_numbers_in_texts_are_converted_in_place() -> None:
    graph = {**copy.deepcopy(STEPS_GRAPH), "1": node("Number", value="7", mode="plain")}
    assert validate(graph, CATALOGUE).outputs == ("3",)
    assert graph["1"]["inputs"]["value"] == 7


def test_a_good_output_runs_beside_a_bad_one() -> None:
    verdict = judge(**{"8": node("Number", value=99, mode="plain"), "9": node("Show", number=["8", 0])})
    assert verdict.outputs == ("3",)
    assert verdict.error is None
    assert list(verdict.node_errors) == ["8"]
