"""Which output feeds an input in the end: through reroutes, bypassed nodes, and in and out of subgraphs. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from orchestrator.comfy.graph import Link
from orchestrator.errors import WorkflowError
from orchestrator.widgets.conversion.canvas import Canvas, Canvases
from orchestrator.widgets.conversion.nodes import GET, PRIMITIVE, SET, DrawnNode
from orchestrator.widgets.conversion.saved import BYPASSED, SUBGRAPH_INPUT, SUBGRAPH_OUTPUT, SavedLink

_MOST_LEVELS = 10_000


@dataclass(frozen=True)
class Level:
    """A canvas as it stands in the workflow: the outermost one, or a subgraph's inside one of its nodes."""

    canvas: Canvas
    path: tuple[str, ...] = ()
    """The ids of the subgraphs' nodes that lead here."""
    node: DrawnNode | None = None
    """The node of the level above that stands for this one."""
    above: "Level | None" = field(default=None, repr=False)

    def id_of(self, node: DrawnNode) -> str:
        """The node's id in the graph, as the editor writes it: the path and its own id."""
        return ":".join((*self.path, node.saved.id))

    def as_shown(self, node: DrawnNode) -> DrawnNode:
        """The node with the values that subgraphs' nodes show for its fields in those fields.

        The editor copies them there before it sends anything, from the outside in.
        """
        if self.above is None:
            return node
        shown = {
            socket.field: self._shown(node, slot)
            for slot, socket in enumerate(node.inputs)
            if socket.field is not None and socket.field in node.values
        }
        return replace(node, values={**node.values, **shown})

    def _shown(self, node: DrawnNode, slot: int) -> object:
        value: object = None
        level: Level | None = self
        while level is not None:
            socket = node.inputs[slot]
            if socket.field is None or socket.field not in node.values:
                break
            value = node.values[socket.field]
            link = level.canvas.drawing.links.get(socket.link) if socket.link is not None else None
            if link is None or link.origin != SUBGRAPH_INPUT or level.node is None:
                break
            if not 0 <= link.slot < len(level.node.inputs):
                break
            node, slot, level = level.node, link.slot, level.above
        return value


def levels(canvases: Canvases) -> Iterator[Level]:
    """Every level of a workflow, the outermost first. Raises WorkflowError if there are absurdly many."""
    waiting = [Level(canvases.outermost())]
    count = 0
    while waiting:
        level = waiting.pop()
        count += 1
        if count > _MOST_LEVELS:
            raise WorkflowError(f"the workflow's subgraphs stand for more than {_MOST_LEVELS} drawings in one another")
        yield level
        standing = (node for node in level.canvas.nodes.values() if node.subgraph is not None)
        waiting += [step_in(canvases, level, node) for node in standing]


def step_in(canvases: Canvases, level: Level, node: DrawnNode) -> Level:
    """The level inside a subgraph's node."""
    assert node.subgraph is not None
    return Level(canvases.inside(node.subgraph), (*level.path, node.saved.id), node, level)


@dataclass(frozen=True)
class Fixed:
    """An input that a field of the subgraph's node around it fills, and no link fills that: it is sent as it is."""

    value: object


@dataclass(frozen=True)
class _At:
    """A place on the way against the links: input or output number `slot` of a node, looked for as type `kind`."""

    level: Level
    node: DrawnNode
    is_output: bool
    slot: int
    kind: str


class Tracer:
    """Follows links against their direction."""

    def __init__(self, canvases: Canvases) -> None:
        self._canvases = canvases

    def source(self, level: Level, node: DrawnNode, slot: int) -> Link | Fixed | None:
        """What feeds input number `slot`; None if nothing does. Raises WorkflowError if the links go in a circle."""
        at: _At | Fixed | None = _At(level, node, False, slot, node.inputs[slot].kind)
        seen: set[tuple[tuple[str, ...], str, bool, int]] = set()
        while isinstance(at, _At):
            key = (at.level.path, at.node.saved.id, at.is_output, at.slot)
            if key in seen:
                raise WorkflowError(f"{node.saved.shown}, input '{node.inputs[slot].name}': its link leads in a circle")
            seen.add(key)
            if at.is_output and at.node.runs and at.node.saved.mode != BYPASSED:
                return Link(at.level.id_of(at.node), at.slot)
            at = self._before_output(at) if at.is_output else self._before_input(at)
        return at

    def _before_input(self, at: _At) -> _At | Fixed | None:
        """The output that an input is linked to; or, out of a subgraph, its node's input or what its field holds."""
        level = at.level
        id_ = at.node.inputs[at.slot].link
        link = level.canvas.drawing.links.get(id_) if id_ is not None else None
        if link is None:
            return None
        if link.origin == SUBGRAPH_INPUT and level.node is not None and level.above is not None:
            return _outside(level.node, level.above, link)
        origin = level.canvas.nodes.get(link.origin)
        return None if origin is None else _At(level, origin, True, link.slot, at.kind)

    def _before_output(self, at: _At) -> _At | None:
        """The place that an output of a node that does not run itself passes on."""
        if at.node.saved.mode == BYPASSED:
            slot = _passed_on(at)
            return None if slot is None else _At(at.level, at.node, False, slot, at.node.inputs[slot].kind)
        if at.node.subgraph is not None:
            return self._inside(at)
        if at.node.saved.kind == PRIMITIVE:
            return None
        if at.node.saved.kind == GET:
            return _set_node(at)
        return _At(at.level, at.node, False, at.slot, at.kind) if 0 <= at.slot < len(at.node.inputs) else None

    def _inside(self, at: _At) -> _At | None:
        """The output inside a subgraph that its node shows as output number `slot`."""
        inner = step_in(self._canvases, at.level, at.node)
        drawing = inner.canvas.drawing
        if not 0 <= at.slot < len(drawing.outputs):
            return None
        listed = (drawing.links.get(id_) for id_ in drawing.outputs[at.slot].links)
        ending = (
            link for link in drawing.links.values() if link.target == SUBGRAPH_OUTPUT and link.target_slot == at.slot
        )
        link = next((link for link in listed if link is not None), None) or next(ending, None)
        if link is None:
            return None
        if link.origin == SUBGRAPH_INPUT:
            slot = link.slot if 0 <= link.slot < len(at.node.inputs) else None
            return None if slot is None else _At(at.level, at.node, False, slot, at.kind)
        origin = inner.canvas.nodes.get(link.origin)
        return None if origin is None else _At(inner, origin, True, link.slot, at.kind)


def _outside(node: DrawnNode, above: Level, link: SavedLink) -> _At | Fixed | None:
    if not 0 <= link.slot < len(node.inputs):
        return None
    outer = node.inputs[link.slot]
    if outer.link is not None:
        return _At(above, node, False, link.slot, outer.kind)
    return Fixed(node.values[outer.field]) if outer.field is not None and outer.field in node.values else None


def _set_node(at: _At) -> _At | None:
    """The Set node of the same name as a Get node."""
    name = next(iter(at.node.saved.values), None)
    for node in at.level.canvas.nodes.values():
        if node.saved.kind == SET and node.inputs and next(iter(node.saved.values), None) == name:
            return _At(at.level, node, False, 0, at.kind)
    return None


def _passed_on(at: _At) -> int | None:
    """Which input a bypassed node passes on: of the same number if its type fits, else of the same type, else any."""
    inputs, kind = at.node.inputs, at.kind
    given = at.node.outputs[at.slot] if 0 <= at.slot < len(at.node.outputs) else "*"
    if not inputs:
        return None
    if kind == "*":
        return at.slot if 0 <= at.slot < len(inputs) else 0
    fitting = [slot for slot, item in enumerate(inputs) if _fits(item.kind, given) and _fits(item.kind, kind)]
    if at.slot in fitting:
        return at.slot
    same = next((slot for slot, item in enumerate(inputs) if item.kind == kind), None)
    return same if same is not None else next(iter(fitting), None)


def _fits(one: str, other: str) -> bool:
    """True if the editor lets an output of one type feed an input of the other: "*" is any, "A,B" either."""
    ours, theirs = one.lower().split(","), other.lower().split(",")
    return "*" in ours or "*" in theirs or not set(ours).isdisjoint(theirs)
