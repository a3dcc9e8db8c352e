"""A graph in ComfyUI's API format as a frozen value. Pure: knows nothing of backends, files or the node catalogue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from orchestrator.errors import WorkflowError


class Link(NamedTuple):
    """The output number `slot` (from 0) of the node with the id `node`."""

    node: str
    slot: int


Input: TypeAlias = "str | int | float | bool | Link | tuple[Input, ...] | Mapping[str, Input] | None"


@dataclass(frozen=True)
class Node:
    """One node. `title` is what the artist called it in the editor, or its class."""

    class_type: str
    inputs: Mapping[str, Input]
    title: str


@dataclass(frozen=True)
class Graph:
    """Nodes by id."""

    nodes: Mapping[str, Node]

    @classmethod
    def from_api(cls, value: object) -> "Graph":
        """Reads decoded JSON in the API format. Raises WorkflowError that says which node is malformed."""
        if not isinstance(value, Mapping) or not value:
            raise WorkflowError("A graph in the API format is an object with at least one node")
        if isinstance(value.get("nodes"), list):
            raise WorkflowError("This is the format that the editor saves; export the workflow in the API format")
        graph = cls({str(node_id): _node(str(node_id), node) for node_id, node in value.items()})
        graph._require_linked_nodes()
        return graph

    def to_api(self) -> dict[str, object]:
        """The JSON object that `POST /prompt` takes as `prompt`."""
        return {
            node_id: {
                "class_type": node.class_type,
                "inputs": {name: _thaw(item) for name, item in node.inputs.items()},
                "_meta": {"title": node.title},
            }
            for node_id, node in self.nodes.items()
        }

    def by_title(self, title: str) -> str:
        """The id of the one node with that title. Raises WorkflowError when there is none or more than one."""
        found = [node_id for node_id, node in self.nodes.items() if node.title == title]
        if not found:
            raise WorkflowError(f'There is no node titled "{title}"')
        if len(found) > 1:
            raise WorkflowError(f'{len(found)} nodes are titled "{title}"; a title must be unique to be bound')
        return found[0]

    def renamed(self, files: Mapping[str, str]) -> "Graph":
        """The same graph where each input that is one of these texts is the text that it stands for."""

        def renamed(item: Input) -> Input:
            return files.get(item, item) if isinstance(item, str) else item

        if not files:
            return self
        return Graph(
            {
                node_id: replace(node, inputs={name: renamed(item) for name, item in node.inputs.items()})
                for node_id, node in self.nodes.items()
            }
        )

    @property
    def classes(self) -> frozenset[str]:
        """The node classes that a backend must have to run this."""
        return frozenset(node.class_type for node in self.nodes.values())

    def _require_linked_nodes(self) -> None:
        for node in self.nodes.values():
            for name, item in node.inputs.items():
                if isinstance(item, Link) and item.node not in self.nodes:
                    raise WorkflowError(f'"{node.title}": input {name} is linked to node {item.node}, which is missing')


def _node(node_id: str, value: object) -> Node:
    if not isinstance(value, Mapping):
        raise WorkflowError(f"Node {node_id} is not an object")
    class_type, inputs, meta = value.get("class_type"), value.get("inputs", {}), value.get("_meta")
    if not isinstance(class_type, str) or not class_type:
        raise WorkflowError(f"Node {node_id} has no class_type")
    if not isinstance(inputs, Mapping):
        raise WorkflowError(f"Node {node_id} ({class_type}): inputs is not an object")
    title = meta.get("title") if isinstance(meta, Mapping) else None
    frozen = {str(name): _freeze(item) for name, item in inputs.items()}
    return Node(class_type, frozen, title if isinstance(title, str) and title else class_type)


def _freeze(value: object) -> Input:
    # ComfyUI takes every list of a string and a number for a link; there is no other mark.
    match value:
        case [str(node), int(slot)] if not isinstance(slot, bool):
            return Link(node, slot)
        case None | str() | bool() | int() | float():
            return value
        case Mapping():
            return {str(key): _freeze(item) for key, item in value.items()}
        case Sequence():
            return tuple(_freeze(item) for item in value)
    raise WorkflowError(f"{type(value).__name__} is no JSON value")


def _thaw(value: Input) -> object:
    if isinstance(value, tuple):
        return [_thaw(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _thaw(item) for key, item in value.items()}
    return value
