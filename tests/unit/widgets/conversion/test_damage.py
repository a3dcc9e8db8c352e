"""Whatever is broken in a saved workflow, the converter says so in its own error or makes a graph."""

import copy
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.comfy.graph import Graph
from orchestrator.comfy.known import known_catalog
from orchestrator.errors import WorkflowError
from orchestrator.widgets.audit import graph_faults
from orchestrator.widgets.conversion import convert
from tests.contract.test_conversion_equals_the_editor import pairs

CATALOG = known_catalog()
WORKFLOWS = [
    pair.values[0]["workflow"]
    for file in ("editor-templates.jsonl.gz", "editor-cases.jsonl.gz")
    for pair in pairs(file)
    if not pair.values[0]["name"].startswith("all_")
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-20, 30) | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a JSON value with every key in it."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        at = waiting.pop()
        keys = at.keys() if isinstance(at, dict) else range(len(at))
        found += [(at, key) for key in keys]
        waiting += [at[key] for key in keys if isinstance(at[key], dict | list)]
    return found


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.lists(JSON, min_size=1, max_size=4), st.booleans())
def test_random_damage_raises_workflow_errors_only(seed: int, replacements: list[object], swap: bool) -> None:
    rng = random.Random(seed)
    workflow = copy.deepcopy(rng.choice(WORKFLOWS))
    for replacement in replacements:
        holder, key = rng.choice(places(workflow))
        if swap:
            other, place = rng.choice(places(workflow))
            replacement = copy.deepcopy(other[place])
        if isinstance(holder, list) and rng.random() < 0.3:
            del holder[key]
        else:
            holder[key] = replacement
    try:
        graph = convert(workflow, CATALOG)
    except WorkflowError:
        return
    assert Graph.from_api(json.loads(json.dumps(graph.to_api(), allow_nan=False))) == graph
    assert all(isinstance(line, str) for line in graph_faults(graph, CATALOG))


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_what_is_no_workflow_at_all_is_refused(value: object) -> None:
    with pytest.raises(WorkflowError):
        convert(value, CATALOG)
