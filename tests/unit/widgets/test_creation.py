"""From a saved workflow to a new widget's folder."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.comfy.known import known_catalog
from orchestrator.errors import WorkflowError
from orchestrator.widgets import library
from orchestrator.widgets.creation import create
from tests.contract.test_conversion_equals_the_editor import pairs
from tests.unit.widgets.conversion.drawings import node, port, socket, subgraph, workflow

CATALOG = known_catalog()
LINKS = [
    [1, 1, 0, 5, 0, "MODEL"],
    [2, 1, 1, 2, 0, "CLIP"],
    [3, 1, 1, 3, 0, "CLIP"],
    [4, 4, 0, 5, 3, "LATENT"],
    [5, 1, 2, 6, 1, "VAE"],
    [6, 2, 0, 5, 1, "CONDITIONING"],
    [7, 3, 0, 5, 2, "CONDITIONING"],
    [8, 5, 0, 6, 0, "LATENT"],
    [9, 6, 0, 7, 0, "IMAGE"],
]


def drawn() -> dict[str, Any]:
    """The workflow that the editor opens with: no node has a title, two are of one class."""
    sampler = [socket("model", 1), socket("positive", 6), socket("negative", 7), socket("latent_image", 4)]
    return workflow(
        node(1, "CheckpointLoaderSimple", ["artist.safetensors"]),
        node(3, "CLIPTextEncode", ["blurred"], inputs=[socket("clip", 3)]),
        node(2, "CLIPTextEncode", ["a house"], inputs=[socket("clip", 2)]),
        node(4, "EmptyLatentImage", [512, 4096, 1]),
        node(5, "KSampler", [7, "randomize", 20, 8.5, "euler", "karras", 1], inputs=sampler),
        node(6, "VAEDecode", inputs=[socket("samples", 8), socket("vae", 5)]),
        node(7, "SaveImage", ["out"], inputs=[socket("images", 9)]),
        links=LINKS,
    )


def made(tmp_path: Path, drawing: object) -> tuple[Any, Any]:
    """The widget.yaml and the workflow.json of the new widget, which the service would take."""
    file = tmp_path / "saved.json"
    file.write_text(json.dumps(drawing))
    create(tmp_path / "workflows", "house", file, CATALOG)
    assert list(library.load(tmp_path / "workflows", CATALOG)) == ["house"]
    folder = tmp_path / "workflows" / "house"
    return yaml.safe_load((folder / "widget.yaml").read_text()), json.loads((folder / "workflow.json").read_text())


def test_what_callers_set_is_proposed_with_drawn_values_and_ranges(tmp_path: Path) -> None:
    said, _ = made(tmp_path, drawn())
    parameters = said["parameters"]
    assert list(parameters) == [
        "model",
        "prompt",
        "negative_prompt",
        "width",
        "height",
        "steps",
        "cfg_scale",
        "sampler",
        "seed",
    ]
    assert parameters["model"]["default"] == "artist"
    assert parameters["prompt"]["required"] is True
    assert parameters["negative_prompt"]["default"] == "blurred"
    assert (parameters["width"]["minimum"], parameters["width"]["maximum"]) == (64, 2048)
    assert (parameters["height"]["default"], parameters["height"]["maximum"]) == (4096, 4096)
    assert parameters["cfg_scale"]["default"] == 8.5
    assert parameters["sampler"]["default"] == "Euler Karras"
    assert {"parameter": "prompt", "node": "Prompt", "input": "text"} in said["bindings"]


def test_nodes_that_cannot_be_told_apart_get_titles_of_their_own(tmp_path: Path) -> None:
    _, drawing = made(tmp_path, drawn())
    titles = {saved["id"]: saved.get("title") for saved in drawing["nodes"]}
    assert (titles[2], titles[3], titles[7]) == ("Prompt", "Negative prompt", "Result")


def test_titles_that_the_artist_gave_stay(tmp_path: Path) -> None:
    drawing = drawn()
    for saved, title in zip(
        drawing["nodes"], ("Model", "Not this", "This", "Size", "Paint", "Decode", "Out"), strict=True
    ):
        saved["title"] = title
    said, copied = made(tmp_path, drawing)
    assert copied == drawing
    assert said["output"] == "Out"
    assert {"parameter": "negative_prompt", "node": "Not this", "input": "text"} in said["bindings"]


def test_pictures_masks_and_strength_are_proposed_where_they_are_drawn(tmp_path: Path) -> None:
    drawing = drawn()
    drawing["nodes"] += [
        node(8, "LoadImage", ["a.png", "image"]),
        node(9, "LoadImageMask", ["m.png", "red", "image"]),
        node(10, "VAEEncodeForInpaint", [6], inputs=[socket("pixels", 10), socket("vae", 11), socket("mask", 12)]),
    ]
    drawing["links"] = [link for link in LINKS if link[0] != 4]
    drawing["links"] += [[10, 8, 0, 10, 0, "IMAGE"], [11, 1, 2, 10, 1, "VAE"], [12, 9, 0, 10, 2, "MASK"]]
    drawing["links"] += [[4, 10, 0, 5, 3, "LATENT"]]
    parameters = made(tmp_path, drawing)[0]["parameters"]
    assert parameters["image"]["type"] == "picture"
    assert (parameters["mask"]["type"], parameters["mask"]["of"]) == ("mask", "image")
    assert parameters["denoising_strength"] == {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 1,
        "help": parameters["denoising_strength"]["help"],
    }


def with_lora(strength: float) -> dict[str, Any]:
    """The same with a LoRA loader that has this strength."""
    drawing = drawn()
    sockets = [socket("model", 10), socket("clip", 11)]
    drawing["nodes"].append(node(8, "LoraLoader", ["l.safetensors", strength, strength], inputs=sockets))
    drawing["links"] = [[id_, 8 if id_ in (1, 2, 3) else origin, *rest] for id_, origin, *rest in LINKS]
    drawing["links"] += [[10, 1, 0, 8, 0, "MODEL"], [11, 1, 1, 8, 1, "CLIP"]]
    return drawing


def test_a_lora_loader_without_strength_is_repeated_for_tags_in_the_prompt(tmp_path: Path) -> None:
    said, _ = made(tmp_path, with_lora(0))
    assert said["loras"] == {"parameter": "prompt", "node": "Load LoRA"}
    assert "<lora:id:weight>" in said["parameters"]["prompt"]["help"]


def test_a_lora_that_is_at_work_in_the_drawing_stays_and_the_artist_hears_how_callers_could_choose(
    tmp_path: Path,
) -> None:
    said, _ = made(tmp_path, with_lora(0.8))
    assert "loras" not in said
    assert "<lora:id:weight>" not in said["parameters"]["prompt"]["help"]
    file = tmp_path / "workflows" / "house" / "widget.yaml"
    sentence = next(line for line in file.read_text().splitlines() if "the LoRA in 'Load LoRA' (l.safetensors)" in line)
    with file.open("a") as definition:
        definition.write(sentence.split("`")[1] + "\n")
    assert library.load(tmp_path / "workflows", CATALOG)["house"].definition.loras is not None


def test_nodes_inside_a_subgraph_are_titled_too(tmp_path: Path) -> None:
    drawing = drawn()
    inner = node(1, "CLIPTextEncode", ["a house"], inputs=[socket("clip", 1)])
    drawing["definitions"] = {
        "subgraphs": [
            subgraph(
                "words",
                [inner],
                [[1, -10, 0, 1, 0], [2, 1, 0, -20, 0]],
                inputs=[port("clip", 1)],
                outputs=[port("c", 2)],
            )
        ]
    }
    drawing["nodes"][2] = node(2, "words", inputs=[socket("clip", 2)])
    said, copied = made(tmp_path, drawing)
    assert copied["definitions"]["subgraphs"][0]["nodes"][0]["title"] == "Prompt"
    assert {"parameter": "prompt", "node": "Prompt", "input": "text"} in said["bindings"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("CheckpointLoaderSimple", "no node loads a checkpoint"),
        ("SaveImage", "no node gives a picture back"),
    ],
)
def test_a_workflow_that_makes_no_widget_is_refused_and_nothing_written(tmp_path: Path, kind: str, said: str) -> None:
    drawing = drawn()
    drawing["nodes"] = [saved for saved in drawing["nodes"] if saved["type"] != kind]
    with pytest.raises(WorkflowError, match=said):
        made(tmp_path, drawing)
    assert not (tmp_path / "workflows").exists()


def test_a_name_that_is_taken_or_makes_no_url_is_refused(tmp_path: Path) -> None:
    made(tmp_path, drawn())
    with pytest.raises(WorkflowError, match="is there already"):
        made(tmp_path, drawn())
    with pytest.raises(WorkflowError, match="use a-z, 0-9, - and _ only"):
        create(tmp_path, "My House", tmp_path / "saved.json", CATALOG)


@pytest.mark.parametrize("pair", pairs("editor-templates.jsonl.gz"))
def test_an_official_workflow_makes_a_widget_or_says_why_not(tmp_path: Path, pair: dict[str, Any]) -> None:
    file = tmp_path / "saved.json"
    file.write_text(json.dumps(pair["workflow"]))
    try:
        create(tmp_path, "new", file, CATALOG)
    except WorkflowError as fault:
        assert "checkpoint" in fault.detail or "picture" in fault.detail  # noqa: PT017
        return
    assert list(library.load(tmp_path, CATALOG)) == ["new"]
