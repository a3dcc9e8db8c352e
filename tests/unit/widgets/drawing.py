"""A small workflow and its definition for the tests of this folder, on core nodes only: a picture painted over."""

import copy
from contextlib import suppress
from dataclasses import replace
from typing import Any

from orchestrator.comfy.catalog import Catalog
from orchestrator.comfy.graph import Graph
from orchestrator.comfy.known import core_object_info
from orchestrator.errors import WorkflowError
from orchestrator.widgets.audit import audit
from orchestrator.widgets.definition import parse_definition
from orchestrator.widgets.drawing import Template
from orchestrator.widgets.widget import Widget

CATALOG = Catalog.from_object_info(core_object_info())

DRAWING: dict[str, Any] = {
    "1": {
        "class_type": "CheckpointLoaderSimple",
        "inputs": {"ckpt_name": "artist.safetensors"},
        "_meta": {"title": "Checkpoint"},
    },
    "2": {
        "class_type": "LoraLoader",
        "inputs": {
            "model": ["1", 0],
            "clip": ["1", 1],
            "lora_name": "artist.safetensors",
            "strength_model": 1,
            "strength_clip": 1,
        },
        "_meta": {"title": "LoRA"},
    },
    "3": {
        "class_type": "CLIPSetLastLayer",
        "inputs": {"clip": ["2", 1], "stop_at_clip_layer": -2},
        "_meta": {"title": "CLIP skip"},
    },
    "4": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["3", 0], "text": "a"}, "_meta": {"title": "Prompt"}},
    "5": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["3", 0], "text": "b"}, "_meta": {"title": "Negative"}},
    "6": {"class_type": "LoadImage", "inputs": {"image": "artist.png"}, "_meta": {"title": "Picture"}},
    "7": {
        "class_type": "ImageInvert",
        "inputs": {"image": ["6", 0]},
        "_meta": {"title": "Invert"},
    },
    "8": {"class_type": "VAEEncode", "inputs": {"pixels": ["7", 0], "vae": ["1", 2]}, "_meta": {"title": "Encode"}},
    "9": {
        "class_type": "KSamplerAdvanced",
        "inputs": {
            "model": ["2", 0],
            "positive": ["4", 0],
            "negative": ["5", 0],
            "latent_image": ["8", 0],
            "add_noise": "enable",
            "noise_seed": 0,
            "steps": 20,
            "cfg": 8.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "start_at_step": 0,
            "end_at_step": 10000,
            "return_with_leftover_noise": "disable",
        },
        "_meta": {"title": "Sampler"},
    },
    "10": {"class_type": "VAEDecode", "inputs": {"samples": ["9", 0], "vae": ["1", 2]}, "_meta": {"title": "Decode"}},
    "11": {
        "class_type": "ImageQuantize",
        "inputs": {"image": ["10", 0], "colors": 16, "dither": "none"},
        "_meta": {"title": "Colours"},
    },
    "12": {"class_type": "PreviewImage", "inputs": {"images": ["11", 0]}, "_meta": {"title": "Result"}},
    "13": {"class_type": "PreviewImage", "inputs": {"images": ["7", 0]}, "_meta": {"title": "A look"}},
}

DEFINITION: dict[str, Any] = {
    "title": "Test",
    "description": "A widget of the tests.",
    "output": "Result",
    "families": ["sd15", "sdxl"],
    "parameters": {
        "image": {"type": "picture", "required": True, "help": "h"},
        "model": {"type": "checkpoint", "required": True, "default": "64094", "help": "h"},
        "prompt": {"type": "prompt", "required": True, "help": "h"},
        "negative_prompt": {"type": "prompt", "default": "bad", "help": "h"},
        "steps": {"type": "integer", "minimum": 1, "maximum": 150, "default": 25, "help": "h"},
        "cfg_scale": {"type": "number", "minimum": 0, "maximum": 30, "default": 7.0, "help": "h"},
        "denoising_strength": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.7, "help": "h"},
        "sampler": {"type": "sampler", "default": "DPM++ 2M Karras", "help": "h"},
        "seed": {"type": "seed", "help": "h"},
        "clip_skip": {"type": "integer", "minimum": 1, "maximum": 12, "default": 1, "help": "h"},
        "invert": {"type": "integer", "minimum": 0, "maximum": 1, "default": 0, "help": "h"},
        "dither": {"type": "integer", "minimum": 0, "maximum": 4, "help": "h"},
    },
    "bindings": [
        {"parameter": "image", "node": "Picture", "input": "image"},
        {"parameter": "model", "node": "Checkpoint", "input": "ckpt_name"},
        {"parameter": "prompt", "node": "Prompt", "input": "text"},
        {"parameter": "negative_prompt", "node": "Negative", "input": "text"},
        {"parameter": "denoising_strength", "node": "Sampler", "input": "start_at_step", "as": "start_at_step"},
        {"parameter": "steps", "node": "Sampler", "input": "steps"},
        {"parameter": "cfg_scale", "node": "Sampler", "input": "cfg"},
        {"parameter": "sampler", "node": "Sampler", "input": "sampler_name", "as": "sampler_name"},
        {"parameter": "sampler", "node": "Sampler", "input": "scheduler", "as": "scheduler"},
        {"parameter": "seed", "node": "Sampler", "input": "noise_seed"},
        {"parameter": "clip_skip", "node": "CLIP skip", "input": "stop_at_clip_layer", "as": "negative"},
        {"parameter": "dither", "node": "Colours", "input": "dither", "choices": {2: "bayer-2", 4: "bayer-4"}},
    ],
    "loras": {"parameter": "prompt", "node": "LoRA"},
    "bypass": [
        {"node": "CLIP skip", "when": {"clip_skip": [1]}},
        {"node": "CLIP skip", "when": {"family": ["sdxl"]}},
        {"node": "Invert", "when": {"invert": [0]}},
        {"node": "Colours", "when": {"dither": [0], "family": ["sd15"]}},
    ],
}


def drawing() -> dict[str, Any]:
    """A copy to change."""
    return copy.deepcopy(DRAWING)


def definition() -> dict[str, Any]:
    """A copy to change."""
    return copy.deepcopy(DEFINITION)


def make_widget(changed_definition: object = DEFINITION, changed_drawing: dict[str, Any] = DRAWING) -> Widget:
    """The audited widget; WorkflowError if it is not sound."""
    # The audit looks at what a conversion would not let through, too.
    template = Template.of(saved(DRAWING), CATALOG)
    with suppress(WorkflowError):
        template = Template.of(saved(changed_drawing), CATALOG)
    template = replace(template, graph=Graph.from_api(changed_drawing))
    return audit("test", parse_definition(changed_definition), template, CATALOG)


def saved(drawn: dict[str, Any]) -> dict[str, Any]:
    """A graph in the API format as a workflow that the editor saved; values by name, which is one of its two ways."""
    links: list[list[object]] = []
    nodes = []
    for id_, node in drawn.items():
        inputs = []
        values = {}
        for name, value in node["inputs"].items():
            if isinstance(value, list):
                links.append([len(links) + 1, int(value[0]), value[1], int(id_), len(inputs), "*"])
                inputs.append({"name": name, "type": "*", "link": len(links)})
            else:
                values[name] = value
        nodes.append(
            {
                "id": int(id_),
                "type": node["class_type"],
                "title": node["_meta"]["title"],
                "mode": 0,
                "inputs": inputs,
                "outputs": [],
                "widgets_values": values,
            }
        )
    return {"version": 0.4, "nodes": nodes, "links": links}
