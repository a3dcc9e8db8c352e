"""A saved node as the editor holds it: sockets as its class declares them, its fields filled. Pure.

Sees one node at a time; what the links lead to is not asked here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orchestrator.comfy.catalog import Catalog
from orchestrator.errors import WorkflowError
from orchestrator.widgets.conversion.fields import Field, Layout, Socket, layout
from orchestrator.widgets.conversion.saved import SavedInput, SavedNode

REROUTES = frozenset({"Reroute", "Reroute (rgthree)"})
PRIMITIVE = "PrimitiveNode"
SET, GET = "SetNode", "GetNode"
"""A pack's way to lead a link without drawing it: what goes into Set comes out of each Get of the same name."""
NOTES = frozenset(
    {
        "Note",
        "MarkdownNote",
        "Label (rgthree)",
        "Bookmark (rgthree)",
        "Fast Groups Bypasser (rgthree)",
        "Fast Groups Muter (rgthree)",
        "Fast Bypasser (rgthree)",
        "Fast Muter (rgthree)",
    }
)
_FRONTEND_ONLY = REROUTES | NOTES | {PRIMITIVE, SET, GET}
_GROUP_NODE = ("workflow>", "workflow/")
"""How the types of group nodes begin, which came before subgraphs."""
CONTROLS = ("fixed", "increment", "decrement", "randomize")
"""What a seed's control may be set to."""


@dataclass(frozen=True)
class Input:
    """An input of a drawn node: its socket and the id of the link that fills it, if any."""

    name: str
    kind: str
    link: int | None
    field: str | None


@dataclass(frozen=True)
class DrawnNode:
    """A node as the editor holds it. `runs` is False for what exists in the editor alone (a subgraph's node too)."""

    saved: SavedNode
    title: str
    runs: bool
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    fields: Mapping[str, Field]
    values: Mapping[str, object]
    subgraph: str | None = None
    """The id of the subgraph that the node stands for."""
    may_read_names: bool = False
    """True if a script of its pack may read values that were saved by name; the editor itself reads lists alone."""


class Drawer:
    """Draws nodes with one node catalogue; how a class is drawn is worked out once."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._layouts: dict[str, Layout] = {}

    def draw(self, node: SavedNode) -> DrawnNode:
        """The node as the editor holds it; not for a node that stands for a subgraph."""
        if node.kind in _FRONTEND_ONLY:
            return DrawnNode(node, node.title or node.kind, False, _as_saved(node), node.outputs, {}, {})
        if node.kind.startswith(_GROUP_NODE):
            raise WorkflowError(f"{node.shown}: is a group node; make a subgraph of it in the editor and save again")
        known = self._catalog.classes.get(node.kind)
        if known is None:
            return _draw_unknown(node)
        if node.kind not in self._layouts:
            self._layouts[node.kind] = layout(known)
        shape = self._layouts[node.kind]
        values = shape.values(node.values)
        if node.kind in ("KSampler", "KSamplerAdvanced"):
            values["sampler_name"] = _without_old_prefix(values.get("sampler_name"))
        outputs = known.outputs + node.outputs[len(known.outputs) :]
        fields = {field.name: field for field in shape.fields}
        title = node.title or known.title or known.name
        sockets = merged(shape.sockets, node)
        return DrawnNode(node, title, True, sockets, outputs, fields, values, may_read_names=known.of_pack)


def merged(sockets: tuple[Socket, ...], node: SavedNode) -> tuple[Input, ...]:
    """The sockets of a class, with the links that were saved for their names; then inputs that a node added itself.

    A saved socket whose field the class does not have (any more) is dropped, as the editor does.
    """
    saved = {item.name: item for item in node.inputs}
    declared = {socket.name for socket in sockets}
    merged = [Input(s.name, s.kind, saved[s.name].link if s.name in saved else None, s.field) for s in sockets]
    added = [item for item in node.inputs if item.name not in declared and item.field is None]
    return (*merged, *(Input(item.name, item.kind, item.link, None) for item in added))


def _as_saved(node: SavedNode) -> tuple[Input, ...]:
    return tuple(Input(item.name, item.kind, item.link, item.field) for item in node.inputs)


def _draw_unknown(node: SavedNode) -> DrawnNode:
    """A class that the catalogue does not have: its fields are those that were saved with a socket."""
    named = [item for item in node.inputs if item.field is not None]
    values: dict[str, object] = {}
    if isinstance(node.values, Mapping):
        names = {item.field for item in named} or node.values.keys()
        values = {name: value for name, value in node.values.items() if name in names}
    else:
        values = dict(_in_order(named, node.values))
    fields = {name: Field(name, value) for name, value in values.items()}
    title, sockets = node.title or node.kind, _as_saved(node)
    return DrawnNode(node, title, True, sockets, node.outputs, fields, values, may_read_names=True)


def _in_order(named: list[SavedInput], values: tuple[object, ...]) -> Iterator[tuple[str, object]]:
    """Saved values for saved sockets; what controls a seed is stepped over."""
    left = list(values)
    for item in named:
        if not left:
            return
        yield str(item.field), left.pop(0)
        if item.kind == "INT" and left and left[0] in CONTROLS and len(left) > len(named) - named.index(item) - 1:
            left.pop(0)


def _without_old_prefix(value: object) -> object:
    """Samplers were once named `sample_euler`."""
    return value.removeprefix("sample_") if isinstance(value, str) else value
