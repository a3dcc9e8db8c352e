"""A saved workflow becomes what ComfyUI's own editor makes of it: class and inputs of every node.

`data/editor-*.jsonl.gz` hold one pair a line: a workflow without layout and notes, and what `graphToPrompt` of
comfyui-frontend-package 1.27.10, served by ComfyUI 0.3.64, made of it in Chromium. The templates are ComfyUI's official
ones; the cases were drawn for one behaviour each, which their names say (`all_…` hold every class of the catalogue).
`python -m tests.contract.record_editor` records further ones.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.comfy.known import known_catalog
from orchestrator.widgets.conversion import convert

DATA = Path(__file__).parent / "data"
CATALOG = known_catalog()


def pairs(file: str) -> list[Any]:
    lines = gzip.decompress((DATA / file).read_bytes()).decode().splitlines()
    return [pytest.param(pair, id=pair["name"]) for pair in map(json.loads, lines)]


def converted(workflow: object) -> dict[str, Any]:
    graph = json.loads(json.dumps(convert(workflow, CATALOG).to_api()))
    return {id_: [node["class_type"], node["inputs"]] for id_, node in graph.items()}


@pytest.mark.parametrize("pair", pairs("editor-templates.jsonl.gz"))
def test_an_official_workflow_converts_as_in_the_editor(pair: dict[str, Any]) -> None:
    assert converted(pair["workflow"]) == pair["graph"]


@pytest.mark.parametrize("pair", pairs("editor-cases.jsonl.gz"))
def test_a_case_converts_as_in_the_editor(pair: dict[str, Any]) -> None:
    assert converted(pair["workflow"]) == pair["graph"]


def test_all_pairs_are_there() -> None:
    assert len(pairs("editor-templates.jsonl.gz")) == 32
    assert len(pairs("editor-cases.jsonl.gz")) > 100
