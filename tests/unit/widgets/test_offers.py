"""A workflow with core's KSampler offers the samplers that its node lists, and names the nearest for the others."""

import pytest

from orchestrator.errors import InvalidParameters, WorkflowError
from orchestrator.widgets.definition import parse_definition
from orchestrator.widgets.samplers import SAMPLERS
from orchestrator.widgets.schema import json_schema
from orchestrator.widgets.values import check
from orchestrator.widgets.widget import Widget
from tests.unit.widgets.drawing import definition, make_widget


def with_core_sampler(**changed: object) -> Widget:
    """The widget of the tests, which has ComfyUI 0.3.64's own KSamplerAdvanced."""
    said = definition()
    said["parameters"]["sampler"] |= changed
    return make_widget(said)


def given(widget: Widget, sampler: str) -> str:
    return widget.check({"image": "x", "prompt": "x", "sampler": sampler}).values.sampler("sampler").name


def complaint(widget: Widget, sampler: str) -> str:
    with pytest.raises(InvalidParameters) as refused:
        given(widget, sampler)
    assert [fault.field for fault in refused.value.fields] == ["sampler"]
    return refused.value.fields[0].message


def test_core_s_sampler_offers_all_but_the_schedule_that_it_lacks() -> None:
    offered = {sampler.name for sampler in with_core_sampler().samplers["sampler"]}
    missing = {sampler.name for sampler in SAMPLERS} - offered
    assert missing
    assert all(name.endswith("Align Your Steps") for name in missing)


def test_a_sampler_that_the_node_has_passes_and_the_schema_lists_it() -> None:
    widget = with_core_sampler()
    assert given(widget, "k_euler_a") == "Euler a"
    listed = json_schema(widget)["properties"]["sampler"]["enum"]  # type: ignore[index]
    assert "Euler a" in listed
    assert "Euler Align Your Steps" not in listed


def test_a_sampler_that_the_node_lacks_is_refused_with_its_solver_on_another_schedule() -> None:
    message = complaint(with_core_sampler(), "euler a align your steps")
    assert message == (
        '"Euler a Align Your Steps" is not in the choices of this workflow\'s node; the nearest is "Euler a Karras"'
    )


def test_an_unknown_name_is_refused_with_the_nearest_that_is_offered() -> None:
    suggested = complaint(with_core_sampler(), "Euler Align Your Stepz").partition("the nearest are")[2]
    assert suggested
    assert "Align" not in suggested


def test_a_sampler_that_cannot_be_run_faithfully_names_one_that_is_offered() -> None:
    assert 'the nearest is "LMS"' in complaint(with_core_sampler(), "PLMS")


def test_a_default_that_the_node_lacks_is_a_fault_of_the_folder() -> None:
    with pytest.raises(WorkflowError, match=r"parameters: sampler: the default .* is not in the choices"):
        with_core_sampler(default="Euler Align Your Steps")


def test_values_checked_without_a_workflow_take_every_sampler() -> None:
    said = parse_definition(definition())
    raw = {"image": "x", "prompt": "x", "sampler": "Euler Align Your Steps"}
    assert check(said, raw).values.sampler("sampler").scheduler == "align_your_steps"
