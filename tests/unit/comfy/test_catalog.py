import pytest

from orchestrator.comfy.catalog import Catalog, InputSpec


def catalog_of(**classes) -> Catalog:
    return Catalog.from_object_info(classes)


def node(required=None, **others):
    return {"input": {"required": required or {}}, "output": [], "output_node": False} | others


def test_an_input_has_kind_default_and_range():
    read = catalog_of(A=node({"steps": ["INT", {"default": 20, "min": 1, "max": 10000}]})).classes["A"]
    assert read.inputs["steps"] == InputSpec("INT", True, None, 20, 1, 10000)


@pytest.mark.parametrize("declared", [[["a", "b"]], [["a", "b"], {}], ["COMBO", {"options": ["a", "b"]}]])
def test_both_ways_to_declare_a_choice_are_read(declared):
    spec = catalog_of(A=node({"which": declared})).classes["A"].inputs["which"]
    assert (spec.kind, spec.choices) == ("COMBO", ("a", "b"))


def test_choices_that_the_editor_fetches_elsewhere_are_not_known():
    assert catalog_of(A=node({"which": ["COMBO", {"remote": {}}]})).classes["A"].inputs["which"].choices is None


def test_hidden_inputs_are_left_out_and_optional_ones_marked():
    declared = {"required": {"a": ["IMAGE"]}, "optional": {"b": ["MASK", {}]}, "hidden": {"prompt": "PROMPT"}}
    inputs = catalog_of(A=node() | {"input": declared}).classes["A"].inputs
    assert {name: spec.required for name, spec in inputs.items()} == {"a": True, "b": False}


def test_inputs_keep_the_order_that_the_node_declares():
    declared = node({"a": ["INT"], "b": ["INT"], "c": ["INT"]}, input_order={"required": ["c", "a"]})
    assert list(catalog_of(A=declared).classes["A"].inputs) == ["c", "a", "b"]


@pytest.mark.parametrize(
    "bad", [None, {}, {"input": 3}, {"input": {"required": {"a": "INT"}}}, {"input": {"required": [1]}}]
)
def test_a_class_that_cannot_be_read_is_left_out_and_the_others_stay(bad):
    assert set(catalog_of(Bad=bad, Good=node()).classes) == {"Good"}


def test_what_is_not_an_object_is_an_empty_catalogue():
    assert Catalog.from_object_info(["x"]).classes == {}


def test_merging_unites_classes_and_choices():
    first = catalog_of(A=node({"c": [["x", "y"]]}), B=node())
    merged = first.merged(catalog_of(A=node({"c": [["y", "z"]]}), C=node()))
    assert set(merged.classes) == {"A", "B", "C"}
    assert merged.classes["A"].inputs["c"].choices == ("x", "y", "z")


def test_missing_names_the_classes_that_are_not_there():
    assert catalog_of(A=node()).missing(frozenset({"A", "B"})) == {"B"}
