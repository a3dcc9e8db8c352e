"""What the shipped workflows compile to stays what a person once read and found right (see golden.py)."""

import json
from typing import Any

import pytest

from orchestrator.comfy.known import known_catalog
from orchestrator.widgets.audit import graph_faults
from tests.contract.golden import CASES, FOLDER, compiled


@pytest.mark.parametrize("name", CASES)
def test_a_case_compiles_to_its_golden_graph(name: str) -> None:
    golden: Any = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    assert compiled(CASES[name]).graph.to_api() == golden


@pytest.mark.parametrize("name", CASES)
def test_a_golden_graph_is_one_that_comfyui_takes(name: str) -> None:
    answer = compiled(CASES[name])
    assert list(graph_faults(answer.graph, known_catalog())) == []
    assert answer.graph.nodes[answer.output_node].title == "Result"


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(CASES)
