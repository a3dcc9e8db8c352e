"""A widget as JSON Schema."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.comfy.known import known_catalog
from orchestrator.errors import WorkflowError
from orchestrator.widgets.library import load_one
from orchestrator.widgets.schema import json_schema, summary
from tests.unit.widgets.drawing import definition, make_widget

WORKFLOWS = Path(__file__).parents[3] / "workflows"
SCHEMA: Any = json_schema(make_widget())


def test_only_what_has_no_default_is_required() -> None:
    assert SCHEMA["required"] == ["image", "prompt"]
    assert SCHEMA["type"] == "object"
    assert SCHEMA["additionalProperties"] is True


def test_properties_stand_in_the_order_of_the_definition_with_range_default_and_help() -> None:
    assert list(SCHEMA["properties"])[:4] == ["image", "model", "prompt", "negative_prompt"]
    assert SCHEMA["properties"]["steps"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 150,
        "default": 25,
        "description": "h",
        "x-type": "integer",
    }
    assert SCHEMA["properties"]["cfg_scale"]["type"] == "number"
    assert SCHEMA["properties"]["prompt"] == {
        "type": "string",
        "maxLength": 20_000,
        "description": "h",
        "x-type": "prompt",
    }
    assert SCHEMA["properties"]["seed"]["minimum"] == -1
    assert SCHEMA["properties"]["seed"]["default"] == -1


def test_a_sampler_lists_its_names_and_the_default_is_one_of_them() -> None:
    said = definition()
    said["parameters"]["sampler"]["default"] = "k_euler_a"
    sampler: Any = json_schema(make_widget(said))
    assert sampler["properties"]["sampler"]["default"] == "Euler a"
    assert "DPM++ 2M Karras" in sampler["properties"]["sampler"]["enum"]


def test_a_picture_is_a_string_that_is_a_url_or_base64() -> None:
    url, base64 = SCHEMA["properties"]["image"]["anyOf"]
    assert url["format"] == "uri"
    assert base64["contentEncoding"] == "base64"


def test_a_models_default_is_text_even_if_the_artist_wrote_a_number() -> None:
    said = definition()
    said["parameters"]["model"]["default"] = 64094
    schema: Any = json_schema(make_widget(said))
    assert schema["properties"]["model"]["default"] == "64094"


def test_a_form_can_be_made_of_it() -> None:
    properties: Any = json_schema(load_one(WORKFLOWS / "inpaint", known_catalog()))["properties"]
    assert (properties["mask"]["x-type"], properties["mask"]["x-of"]) == ("mask", "image")
    assert properties["image"]["x-type"] == "picture"
    assert properties["sampler"]["x-advanced"] is True
    assert "x-advanced" not in properties["prompt"]
    assert properties["inpainting_fill"]["oneOf"][2] == {"const": 2, "title": "noise"}


def test_labels_that_do_not_name_the_whole_range_are_refused() -> None:
    said = definition()
    said["parameters"]["steps"] |= {"minimum": 1, "maximum": 3, "default": 1, "labels": {1: "few", 3: "many"}}
    with pytest.raises(WorkflowError, match="labels must name each number from 1 to 3"):
        make_widget(said)


def test_the_entry_in_the_list_names_the_parameters() -> None:
    assert summary(make_widget()) == {
        "name": "test",
        "title": "Test",
        "description": "A widget of the tests.",
        "families": ["sd15", "sdxl"],
        "parameters": list(definition()["parameters"]),
    }
