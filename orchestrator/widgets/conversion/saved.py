"""A workflow as the editor's *Save* writes it, read into frozen types. Pure.

Two forms of links are in use (lists in version 0.4, objects in version 1 and inside subgraphs) and two of a node's
values (a list in the order of its fields, or an object by name); both are read. What a class's fields are, and what
runs in the end, is not known here.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.errors import WorkflowError

SUBGRAPH_INPUT = "-10"
"""The id under which links inside a subgraph name the subgraph's own inputs as their origin."""
SUBGRAPH_OUTPUT = "-20"
"""The id under which they name its outputs as their target."""
MUTED, BYPASSED = 2, 4
"""Modes of a node that does not run: without replacement, or passing on what it is given."""

Values: TypeAlias = "tuple[object, ...] | Mapping[str, object]"


@dataclass(frozen=True)
class SavedInput:
    """An input socket; `link` is a link's id, `field` the name of the node's field that the socket belongs to."""

    name: str
    kind: str
    link: int | None
    field: str | None


@dataclass(frozen=True)
class SavedNode:
    """One node; `kind` is a node class, a frontend-only kind such as Reroute, or a subgraph's id. `title` may be ""."""

    id: str
    kind: str
    title: str
    mode: int
    inputs: tuple[SavedInput, ...]
    outputs: tuple[str, ...]
    """Link types by slot."""
    feeds: tuple[int, ...]
    """The ids of the links at the first output, in the node's order."""
    values: Values
    alias: str
    """The name under which texts may refer to the node ("Node name for S&R"), or ""."""
    replaces: bool
    """True for a primitive node whose text may refer to other nodes ("Run widget replace on values")."""

    @property
    def shown(self) -> str:
        """How to name the node to the artist."""
        return f"node '{self.title or self.kind}' (id {self.id})"


@dataclass(frozen=True)
class SavedLink:
    """From output number `slot` of the node `origin` to the node `target`."""

    origin: str
    slot: int
    target: str
    target_slot: int


@dataclass(frozen=True)
class Port:
    """An input or output of a subgraph, with the ids of the links inside that begin or end there."""

    name: str
    kind: str
    links: tuple[int, ...]


@dataclass(frozen=True)
class Drawing:
    """Nodes and links of one canvas: the workflow's own, or a subgraph's with its ports."""

    name: str
    nodes: Mapping[str, SavedNode]
    links: Mapping[int, SavedLink]
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()


@dataclass(frozen=True)
class SavedWorkflow:
    """The outermost drawing, and the subgraphs by id."""

    drawing: Drawing
    subgraphs: Mapping[str, Drawing]


def read_workflow(value: object) -> SavedWorkflow:
    """Reads decoded JSON. Raises WorkflowError that says which node, link or subgraph is malformed."""
    if not isinstance(value, Mapping):
        raise WorkflowError("a saved workflow is a JSON object")
    if "nodes" not in value:
        kind = "this is the API format" if _is_api(value) else "there is no list of nodes"
        raise WorkflowError(f"{kind}; use the file that the editor's File → Export writes")
    subgraphs = {str(definition["id"]): _subgraph(definition) for definition in _definitions(value)}
    return SavedWorkflow(_drawing(value, "the workflow"), subgraphs)


def _is_api(value: Mapping[object, object]) -> bool:
    return any(isinstance(node, Mapping) and "class_type" in node for node in value.values())


def _definitions(value: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """Subgraphs are defined beside the outermost drawing; some versions of the editor nest them in one another."""
    waiting: list[Mapping[str, object]] = [value]
    while waiting:
        definitions = waiting.pop().get("definitions")
        for definition in _objects(definitions.get("subgraphs") if isinstance(definitions, Mapping) else None):
            if not isinstance(definition.get("id"), str):
                raise WorkflowError("a subgraph has no id")
            yield definition
            waiting.append(definition)


def _subgraph(definition: Mapping[str, object]) -> Drawing:
    return _drawing(definition, f"the subgraph '{_text(definition.get('name')) or definition.get('id')}'")


def _drawing(value: Mapping[str, object], name: str) -> Drawing:
    nodes: dict[str, SavedNode] = {}
    listed = value.get("nodes")
    if not isinstance(listed, list):
        raise WorkflowError(f"{name}: nodes is not a list")
    for item in listed:
        node = _node(item, name)
        if node.id in nodes:
            raise WorkflowError(f"{name}: two nodes have the id {node.id}")
        nodes[node.id] = node
    return Drawing(name, nodes, dict(_links(value, name)), _ports(value.get("inputs")), _ports(value.get("outputs")))


def _node(value: object, where: str) -> SavedNode:
    if not isinstance(value, Mapping):
        raise WorkflowError(f"{where}: a node is not an object")
    id_, kind = id_text(value.get("id")), value.get("type")
    if id_ is None:
        raise WorkflowError(f"{where}: a node has no id")
    if not isinstance(kind, str) or not kind:
        raise WorkflowError(f"{where}: node {id_} has no type")
    properties, outputs = value.get("properties"), _objects(value.get("outputs"))
    properties = properties if isinstance(properties, Mapping) else {}
    return SavedNode(
        id=id_,
        kind=_RENAMED.get(kind, kind),
        title=_text(value.get("title")),
        mode=_whole(value.get("mode")) or 0,
        inputs=tuple(_input(item, where, id_) for item in _objects(value.get("inputs"))),
        outputs=tuple(_link_type(item.get("type")) for item in outputs),
        feeds=_link_ids(outputs[0].get("links")) if outputs else (),
        values=_values(value.get("widgets_values")),
        alias=_text(properties.get("Node name for S&R")),
        replaces=properties.get("Run widget replace on values") is True,
    )


# Classes that ComfyUI has renamed; the editor reads the old name as the new one.
_RENAMED = {
    "T2IAdapterLoader": "ControlNetLoader",
    "ConditioningAverage ": "ConditioningAverage",
    "SDV_img2vid_Conditioning": "SVD_img2vid_Conditioning",
}


def _input(value: Mapping[str, object], where: str, node: str) -> SavedInput:
    name, field = value.get("name"), value.get("widget")
    if not isinstance(name, str):
        raise WorkflowError(f"{where}: an input of node {node} has no name")
    field = field.get("name") if isinstance(field, Mapping) else None
    return SavedInput(name, _link_type(value.get("type")), _whole(value.get("link")), _text(field) or None)


def _values(value: object) -> Values:
    if isinstance(value, Mapping):
        return {str(name): item for name, item in value.items()}
    return tuple(value) if isinstance(value, list) else ()


def _links(value: Mapping[str, object], where: str) -> Iterator[tuple[int, SavedLink]]:
    listed = value.get("links")
    if listed is not None and not isinstance(listed, list):
        raise WorkflowError(f"{where}: links is not a list")
    for item in listed or ():
        match item:
            case None:
                continue
            case [id_, origin, slot, target, target_slot, *_]:
                read = (_whole(id_), id_text(origin), _whole(slot), id_text(target), _whole(target_slot))
            case Mapping():
                ends = [item.get(key) for key in ("origin_id", "origin_slot", "target_id", "target_slot")]
                read = (_whole(item.get("id")), id_text(ends[0]), _whole(ends[1]), id_text(ends[2]), _whole(ends[3]))
            case _:
                raise WorkflowError(f"{where}: a link is neither a list nor an object")
        link, origin_id, origin_slot, target_id, target_number = read
        if link is None or origin_id is None or origin_slot is None or target_id is None:
            raise WorkflowError(f"{where}: a link does not say where it comes from and where it goes")
        yield link, SavedLink(origin_id, origin_slot, target_id, -1 if target_number is None else target_number)


def _ports(value: object) -> tuple[Port, ...]:
    return tuple(
        Port(_text(item.get("name")), _link_type(item.get("type")), _link_ids(item.get("linkIds")))
        for item in _objects(value)
    )


def _link_ids(value: object) -> tuple[int, ...]:
    links = [_whole(id_) for id_ in value] if isinstance(value, list) else []
    return tuple(id_ for id_ in links if id_ is not None)


def _objects(value: object) -> Sequence[Mapping[str, object]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def id_text(value: object) -> str | None:
    """An id as the graph writes it: 3, 3.0 and "3" are "3"; None for what is no id."""
    if isinstance(value, str):
        return value or None
    number = _whole(value)
    return None if number is None else str(number)


def _whole(value: object) -> int | None:
    """A whole number, also as JavaScript may have written it: 3, 3.0, "3"."""
    if isinstance(value, str):
        return int(value) if value.isascii() and value.removeprefix("-").isdigit() and len(value) < 16 else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > 2**53:
        return None
    return int(value) if value == int(value) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _link_type(value: object) -> str:
    """A link type; 0, "" and "*" fit everything."""
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return value if isinstance(value, str) and value else "*"


def with_titles(workflow: object, titles: Mapping[str, str]) -> object:
    """Decoded JSON of a saved workflow in which the nodes of `titles` bear those titles.

    Ids are those of the graph: `5:1` is node 1 of the subgraph that node 5 stands for, wherever that subgraph is used.
    """
    renamed = copy.deepcopy(workflow)
    if not isinstance(renamed, Mapping):
        return renamed
    definitions = {definition["id"]: definition for definition in _definitions(renamed)}
    for path, title in titles.items():
        level: object = renamed
        node: object = None
        for id_ in path.split(":"):
            nodes = level.get("nodes") if isinstance(level, Mapping) else None
            node = next((item for item in _objects(nodes) if id_text(item.get("id")) == id_), None)
            level = definitions.get(str(node.get("type"))) if isinstance(node, Mapping) else None
        if isinstance(node, dict):
            node["title"] = title
    return renamed
