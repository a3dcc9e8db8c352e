"""What nodes of the last prompt computed, found again by what led to it. Knows no node class in particular."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

from orchestrator.embedded.catalogue import Catalogue, Result
from orchestrator.embedded.foreign import Failed, attempt


def is_link(value: Any) -> bool:
    """Whether an input of a graph is a link: node id and output number."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
        and not isinstance(value[1], bool)
    )


def _changed(node: Mapping[str, Any], catalogue: Catalogue) -> str:
    """What the class says of its constant inputs (a file's hash, say); never the same twice when it cannot say."""
    kind = catalogue[node["class_type"]]
    if kind.changed is None:
        return ""
    declared = {spec.name for spec in kind.inputs() if spec.category != "hidden"}
    given = {name: None if is_link(value) else value for name, value in node["inputs"].items() if name in declared}
    answer = attempt(kind.changed, **given)
    return uuid4().hex if isinstance(answer, Failed) or answer != answer else repr(answer)  # NaN


def keys(graph: Mapping[str, Any], outputs: Iterable[str], catalogue: Catalogue) -> dict[str, str]:
    """A key for each node that `outputs` need: equal when class, constants and everything upstream are equal.

    The nodes are in an order in which each comes after those it needs. The graph must be free of cycles.
    """
    found: dict[str, str] = {}

    def key(node_id: str) -> str:
        if node_id not in found:
            node = graph[node_id]
            parts: list[Any] = [node["class_type"], _changed(node, catalogue)]
            for name, value in sorted(node["inputs"].items()):
                parts.append([name, key(value[0]), value[1]] if is_link(value) else [name, value])
            if any(spec.kind == "UNIQUE_ID" for spec in catalogue[node["class_type"]].inputs()):
                parts.append(node_id)
            found[node_id] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        return found[node_id]

    for output in outputs:
        key(output)
    return found


class OutputCache:
    """Results by key, of one prompt's nodes at a time, so that memory is bounded by what one prompt needs."""

    def __init__(self) -> None:
        self._results: dict[str, Result] = {}

    def keep(self, keys: Iterable[str]) -> None:
        """Forgets all results but these."""
        wanted = set(keys)
        self._results = {key: result for key, result in self._results.items() if key in wanted}

    def get(self, key: str) -> Result | None:
        return self._results.get(key)

    def put(self, key: str, result: Result) -> None:
        self._results[key] = result

    def drop(self, key: str) -> None:
        self._results.pop(key, None)

    def clear(self) -> None:
        self._results.clear()
