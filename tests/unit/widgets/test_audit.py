"""Every fault of a workflow folder that can be seen before a run is named, with node title and input."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.errors import WorkflowError
from tests.unit.widgets.drawing import definition, drawing, make_widget

Yaml = dict[str, Any]


def faults(change: Callable[[Yaml, Yaml], object]) -> str:
    said, drawn = definition(), drawing()
    change(said, drawn)
    with pytest.raises(WorkflowError) as refused:
        make_widget(said, drawn)
    return refused.value.detail


def bind(parameter: str, node: str, name: str, **more: object) -> Callable[[Yaml, Yaml], object]:
    return lambda said, drawn: said["bindings"].append({"parameter": parameter, "node": node, "input": name, **more})


def draw(node: str, name: str, value: object) -> Callable[[Yaml, Yaml], object]:
    return lambda said, drawn: drawn[node]["inputs"].update({name: value})


def say(parameter: str, key: str, value: object) -> Callable[[Yaml, Yaml], object]:
    return lambda said, drawn: said["parameters"][parameter].update({key: value})


def test_the_drawing_of_these_tests_is_sound() -> None:
    widget = make_widget()
    assert widget.nodes["Sampler"] == "9"
    assert widget.passages["LoRA"] == {0: "model", 1: "clip"}
    assert widget.passages["CLIP skip"] == {0: "clip"}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (draw("9", "stepz", 3), "node 'Sampler', input 'stepz': the class KSamplerAdvanced has no such input"),
        (lambda said, drawn: drawn["9"]["inputs"].pop("cfg"), "node 'Sampler', input 'cfg': is required and not there"),
        (draw("9", "return_with_leftover_noise", "maybe"), 'is "maybe", which is not one of the node\'s choices'),
        (
            draw("9", "end_at_step", 20000),
            "node 'Sampler', input 'end_at_step': is 20000, but the input takes 0 to 10000",
        ),
        (draw("9", "end_at_step", "all"), "node 'Sampler', input 'end_at_step': is \"all\", but the input takes INT"),
        (draw("9", "end_at_step", True), "node 'Sampler', input 'end_at_step': is true, but the input takes INT"),
        (draw("9", "model", 3), "node 'Sampler', input 'model': takes a link of type MODEL, not a value"),
        (draw("9", "model", ["1", 1]), "node 'Sampler', input 'model': takes MODEL, but 'Checkpoint' gives CLIP"),
        (
            draw("9", "model", ["1", 3]),
            "node 'Sampler', input 'model': is linked to output 3 of 'Checkpoint', which has 3",
        ),
        (draw("9", "steps", ["1", 0]), "node 'Sampler', input 'steps': is bound and linked at once"),
        (draw("8", "pixels", ["10", 0]), "the nodes feed one another in a circle"),
        (
            lambda said, drawn: drawn["10"].update(class_type="VAEDecoder"),
            "node 'Decode': the class VAEDecoder is not in the node catalogue",
        ),
        (
            lambda said, drawn: drawn["10"]["_meta"].update(title="Sampler"),
            "node 'Sampler': 2 nodes have this title, which widget.yaml names",
        ),
        (
            lambda said, drawn: drawn["9"]["_meta"].update(title="KSampler"),
            "node 'Sampler': no node has this title, which widget.yaml names",
        ),
    ],
)
def test_a_fault_of_the_drawing_is_named(change: Callable[[Yaml, Yaml], object], line: str) -> None:
    assert line in faults(change)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            bind("clip_skip", "Sampler", "stepz"),
            "node 'Sampler', input 'stepz': bound to clip_skip, but KSamplerAdvanced",
        ),
        (
            bind("clip_skip", "Sampler", "add_noise"),
            "takes COMBO; a parameter of type integer, bound as value, needs INT",
        ),
        (bind("cfg_scale", "Sampler", "end_at_step"), "needs FLOAT"),
        (bind("prompt", "Sampler", "end_at_step"), "needs STRING"),
        (bind("image", "Sampler", "end_at_step"), "needs COMBO or STRING"),
        (bind("sampler", "Sampler", "add_noise"), "of type sampler cannot be bound as value"),
        (
            bind("sampler", "Sampler", "add_noise", **{"as": "scheduler"}),
            "parameters: sampler: no sampler is in the choices of all nodes that it is bound to",
        ),
        (
            bind("seed", "Sampler", "end_at_step"),
            "may be from 0 to 18446744073709551615, but the input takes 0 to 10000",
        ),
        (say("steps", "minimum", 0), "bound to steps: may be from 0 to 150, but the input takes 1 to 10000"),
        (
            say("cfg_scale", "maximum", 200),
            "bound to cfg_scale: may be from 0.0 to 200.0, but the input takes 0.0 to 100",
        ),
        (say("clip_skip", "maximum", 25), "bound to clip_skip: may be from -25 to -1, but the input takes -24 to -1"),
        (say("denoising_strength", "maximum", 2), "start_at_step is made of lies between 0 and 1"),
        (bind("dither", "Sampler", "end_at_step", choices={9: 3}), "choices: 9 is no value of dither"),
        (bind("dither", "Sampler", "end_at_step", choices={1: "x"}), 'choices: is "x", but the input takes INT'),
        (bind("dither", "Sampler", "add_noise", choices={1: "x"}), 'choices: is "x", which is not one of the node\'s'),
        (bind("dither", "Sampler", "add_noise", choices={1: "enable"}, **{"as": "negative"}), "exclude one another"),
        (bind("invert", "Sampler", "steps"), "node 'Sampler', input 'steps': is bound 2 times"),
        (bind("nobody", "Sampler", "end_at_step"), "there is no parameter nobody"),
        (
            bind("denoising_strength", "Colours", "colors", **{"as": "start_at_step"}),
            "a number in the node's input 'steps'",
        ),
    ],
)
def test_a_binding_that_does_not_fit_is_named(change: Callable[[Yaml, Yaml], object], line: str) -> None:
    assert line in faults(change)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (say("steps", "default", 0), "parameters: steps: the default must be a whole number from 1 to 150; got 0"),
        (say("sampler", "default", "Eular"), "parameters: sampler: the default there is no sampler"),
        (lambda said, drawn: said["parameters"].pop("model"), "there must be one of type checkpoint; there are 0"),
        (
            lambda said, drawn: said["parameters"].update(family={"type": "text", "help": "h"}),
            "family is a word of the bypass conditions",
        ),
        (
            lambda said, drawn: said["parameters"].update(idle={"type": "text", "help": "h"}),
            "parameters: nothing uses idle",
        ),
        (
            lambda said, drawn: said["parameters"].update(
                mask={"type": "mask", "of": "prompt", "blur": "no", "help": "h"}
            ),
            "mask: of: prompt is not a parameter of type picture",
        ),
        (
            lambda said, drawn: said["parameters"].update(
                mask={"type": "mask", "of": "image", "blur": "no", "help": "h"}
            ),
            "mask: no is not a parameter of type integer",
        ),
        (
            lambda said, drawn: said["parameters"].update(other={"type": "seed", "help": "h"}),
            "there can be one of type seed; there are 2",
        ),
        (
            lambda said, drawn: said["bypass"].append({"node": "Invert", "when": {"family": ["flux"]}}),
            "node 'Invert': bypassed when family is \"flux\", which it never is",
        ),
        (
            lambda said, drawn: said["bypass"].append({"node": "Invert", "when": {"clip_skip": [0]}}),
            "node 'Invert': bypassed when clip_skip is 0, which it never is",
        ),
        (
            lambda said, drawn: said["bypass"].append({"node": "Decode", "when": {"invert": [0]}}),
            "node 'Decode': cannot be left out, for it has no linked input of type IMAGE",
        ),
        (
            lambda said, drawn: said["bypass"].append({"node": "Result", "when": {"invert": [0]}}),
            "node 'Result': the output cannot be bypassed",
        ),
        (
            lambda said, drawn: said["bypass"].append({"node": "LoRA", "when": {"invert": [0]}}),
            "node 'LoRA': the LoRA loader leaves by itself",
        ),
        (
            lambda said, drawn: said.update(output="Decode"),
            "node 'Decode': is the widget's output, but VAEDecode is not",
        ),
        (
            lambda said, drawn: said["loras"].update(node="CLIP skip"),
            "node 'CLIP skip', input 'lora_name': a LoRA loader has such an input of type COMBO",
        ),
        (
            lambda said, drawn: said["loras"].update(node="CLIP skip"),
            "node 'CLIP skip': a LoRA loader takes and gives MODEL",
        ),
        (lambda said, drawn: said["loras"].update(parameter="seed"), "loras: seed is not a parameter of type prompt"),
    ],
)
def test_a_definition_that_contradicts_itself_or_the_drawing_is_named(
    change: Callable[[Yaml, Yaml], object], line: str
) -> None:
    assert line in faults(change)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            say("steps", "maximum", "150"),
            "widget.yaml: parameters.steps.integer.maximum: Input should be a valid integer",
        ),
        (say("steps", "maximun", 150), "widget.yaml: parameters.steps.integer.maximun: Extra inputs are not permitted"),
        (say("steps", "help", ""), "widget.yaml: parameters.steps.integer.help"),
        (say("steps", "type", "int"), "widget.yaml: parameters.steps"),
        (lambda said, drawn: said.pop("output"), "widget.yaml: output: Field required"),
        (lambda said, drawn: said.update(families=["flux"]), "widget.yaml: families.0"),
        (lambda said, drawn: said.update(families=[]), "widget.yaml: families"),
        (lambda said, drawn: said["bindings"][0].update({"as": "upper"}), "widget.yaml: bindings.0.as"),
        (lambda said, drawn: said["bypass"][0].update(when={}), "widget.yaml: bypass.0.when"),
    ],
)
def test_a_widget_yaml_of_the_wrong_form_is_named_by_its_key(change: Callable[[Yaml, Yaml], object], line: str) -> None:
    assert line in faults(change)


def test_all_faults_come_at_once() -> None:
    def change(said: Yaml, drawn: Yaml) -> None:
        drawn["9"]["inputs"]["stepz"] = 3
        drawn["9"]["inputs"]["model"] = ["1", 1]
        said["parameters"]["steps"]["default"] = 0
        said["output"] = "Nowhere"

    assert len(faults(change).split("\n")) == 4


def test_the_drawn_value_of_a_bound_input_and_a_files_name_do_not_count() -> None:
    drawn = drawing()
    drawn["9"]["inputs"]["steps"] = -3
    drawn["2"]["inputs"]["lora_name"] = "of the artist's machine.safetensors"
    drawn["30"] = {
        "class_type": "CheckpointLoaderSimple",
        "inputs": {"ckpt_name": "also there.safetensors"},
        "_meta": {"title": "Another checkpoint"},
    }
    make_widget(changed_drawing=drawn)
