"""Where in a saved workflow the value of each input of its graph stands: found out once for a widget. Pure.

Mostly in the node's own field; but a subgraph may show a field of a node inside it on its own node, and a primitive
node may fill fields of several nodes. What a job's values are is not known here.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.comfy.catalog import Catalog
from orchestrator.comfy.graph import Graph
from orchestrator.widgets.conversion import convert, without_editor_fields
from orchestrator.widgets.conversion.canvas import Canvases
from orchestrator.widgets.conversion.fields import ABSENT, Field
from orchestrator.widgets.conversion.links import Level, levels
from orchestrator.widgets.conversion.nodes import CONTROLS, PRIMITIVE, DrawnNode
from orchestrator.widgets.conversion.primitive import Shared, shared
from orchestrator.widgets.conversion.saved import SUBGRAPH_INPUT, read_workflow
from orchestrator.widgets.drawing import written
from orchestrator.widgets.drawing.sheet import Sheet

Path = tuple[str, ...]
"""The ids of the subgraphs' nodes that lead to a canvas; () is the outermost one."""


class Place(NamedTuple):
    """A field of a node; `field` is None for the one value of a primitive node."""

    path: Path
    node: str
    field: str | None


class InputId(NamedTuple):
    """An input of the graph: the node's id there, and the input's name."""

    node: str
    name: str


@dataclass(frozen=True)
class Held:
    """What holds an input's value: usually the node's own field, else the `place` that fills it (None: nothing that
    can be written to, as behind a reroute)."""

    own: Place
    place: Place | None
    field: Field
    primitive: Shared | None
    """What the primitive node draws that fills it, if one does."""
    is_outside: bool
    """True if a field of a subgraph's node fills it, and no link fills that field: such a value is sent as it is,
    without choices among `{a|b}`."""


@dataclass(frozen=True)
class Template:
    """A saved workflow prepared for values: seeds stay as they are after a run, and nothing is left to chance."""

    text: str
    """JSON."""
    graph: Graph
    """What it runs as."""
    held: Mapping[InputId, Held]
    holders: Mapping[Place, tuple[InputId, ...]]
    """Every input that a place fills."""
    rows: Mapping[tuple[Path, str], tuple[str, ...]]
    """By canvas and node: the fields in the order of the saved list of values."""
    last_id: int
    """The largest number that any node has."""

    @classmethod
    def of(cls, workflow: object, catalog: Catalog) -> "Template":
        """Prepares the decoded JSON of a saved workflow. Raises WorkflowError as `convert` does."""
        graph = without_editor_fields(convert(workflow, catalog), catalog)
        every_level = list(levels(Canvases(read_workflow(workflow), catalog)))
        held = {id_: found for level in every_level for id_, found in _held(level) if id_.node in graph.nodes}
        holders: dict[Place, tuple[InputId, ...]] = {}
        for id_, found in held.items():
            if found.place is not None:
                holders[found.place] = (*holders.get(found.place, ()), id_)
        rows = {(level.path, node.saved.id): _row(node) for level in every_level for node in _nodes(level)}
        sheet = Sheet(json.dumps(workflow), rows, together=True)
        for level in every_level:
            for node in _nodes(level):
                _settle(sheet, level.path, node)
        for id_, found in held.items():
            value = graph.nodes[id_.node].inputs.get(id_.name)
            if found.place is not None and _is_left_to_chance(sheet.value(found.place), found):
                sheet.write(found.place, written.literal(found.field, value))
        return cls(json.dumps(sheet.workflow), graph, held, holders, rows, sheet.last_id)

    def free_id(self, beside: str, number: int) -> str:
        """The id of the `number`th node (from 1) that is added on the canvas of the node `beside`."""
        return ":".join((*beside.split(":")[:-1], str(self.last_id + number)))

    def sheet(self) -> Sheet:
        """A copy to change."""
        return Sheet(self.text, self.rows)


def _nodes(level: Level) -> Iterator[DrawnNode]:
    return iter(level.canvas.nodes.values())


def _row(node: DrawnNode) -> tuple[str, ...]:
    return tuple(field.name for field in node.fields.values() if field.saved)


def _held(level: Level) -> Iterator[tuple[InputId, Held]]:
    for node in _nodes(level):
        for slot, socket in enumerate(node.inputs):
            field = node.fields.get(socket.field) if socket.field is not None else None
            if node.runs and field is not None:
                own = Place(level.path, node.saved.id, field.name)
                place, primitive = _place(level, node, slot)
                is_outside = place is not None and place.path != level.path and primitive is None
                yield InputId(level.id_of(node), socket.name), Held(own, place, field, primitive, is_outside)


def _place(level: Level, node: DrawnNode, slot: int) -> tuple[Place | None, Shared | None]:
    """What fills a field: itself, unless it is linked to a primitive node or shown by the subgraph that it lies in."""
    socket = node.inputs[slot]
    link = level.canvas.drawing.links.get(socket.link) if socket.link is not None else None
    if link is None:
        return (None if socket.field is None else Place(level.path, node.saved.id, socket.field)), None
    if link.origin == SUBGRAPH_INPUT and level.node is not None and level.above is not None:
        shown = 0 <= link.slot < len(level.node.inputs)
        return _place(level.above, level.node, link.slot) if shown else (None, None)
    origin = level.canvas.nodes.get(link.origin)
    if origin is None or origin.saved.kind != PRIMITIVE or origin.saved.replaces:
        return None, None
    return Place(level.path, origin.saved.id, None), shared(level.canvas.drawing, level.canvas.nodes, origin)


def _settle(sheet: Sheet, path: Path, node: DrawnNode) -> None:
    """Writes a node's values as the editor holds them, each in its place, and keeps its seeds as they are."""
    # Some fields hold what no saved value gives: nothing at all, or a default that is read otherwise when saved.
    savable = all(value is not ABSENT and node.fields[n].take(value) == value for n, value in node.values.items())
    if node.fields and savable and (node.runs or node.subgraph is not None):
        kept = {name: "fixed" for name, value in node.values.items() if _is_control(node, name, value)}
        sheet.write_all(path, node.saved.id, {**node.values, **kept}, by_name=node.may_read_names)
    if node.saved.kind == PRIMITIVE:
        sheet.fix_primitive(path, node.saved.id)


def _is_control(node: DrawnNode, name: str, value: object) -> bool:
    return type(value) is str and value in CONTROLS and not node.fields[name].sent


def _is_left_to_chance(drawn: object, held: Held) -> bool:
    """True if the editor draws one of several texts, or fills in what other fields hold by then."""
    if not isinstance(drawn, str) or held.is_outside:
        return False
    return (held.field.has_alternatives and "|" in drawn) or (held.field.name == "filename_prefix" and "%" in drawn)
