"""A saved drawing as the editor holds it: nodes drawn, subgraphs' nodes with their fields, primitives applied. Pure.

Which output feeds which input in the end is not asked here (links does).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orchestrator.comfy.catalog import Catalog
from orchestrator.errors import WorkflowError
from orchestrator.widgets.conversion import primitive
from orchestrator.widgets.conversion.fields import ABSENT, Field, Layout, Socket
from orchestrator.widgets.conversion.nodes import CONTROLS, Drawer, DrawnNode, merged
from orchestrator.widgets.conversion.saved import Drawing, SavedNode, SavedWorkflow, Values

_DEEPEST = 50
"""Subgraphs within subgraphs; nobody draws so deep."""


@dataclass(frozen=True)
class Canvas:
    """A drawing with its nodes by id, in the order of the file."""

    drawing: Drawing
    nodes: Mapping[str, DrawnNode]


class Canvases:
    """The canvases of one workflow, each made once, when it is first asked for."""

    def __init__(self, workflow: SavedWorkflow, catalog: Catalog) -> None:
        self._workflow = workflow
        self._drawer = Drawer(catalog)
        self._made: dict[str, Canvas] = {}
        self._in_work: list[str] = []

    def outermost(self) -> Canvas:
        """The workflow's own canvas. Raises WorkflowError if a subgraph holds itself."""
        return self._make(self._workflow.drawing)

    def inside(self, subgraph: str) -> Canvas:
        """The canvas of a subgraph, by its id."""
        if subgraph not in self._made:
            definition = self._workflow.subgraphs[subgraph]
            if subgraph in self._in_work or len(self._in_work) >= _DEEPEST:
                raise WorkflowError(f"{definition.name} holds itself, or lies more than {_DEEPEST} deep")
            self._in_work.append(subgraph)
            self._made[subgraph] = self._make(definition)
            self._in_work.pop()
        return self._made[subgraph]

    def _make(self, drawing: Drawing) -> Canvas:
        return Canvas(
            drawing, primitive.applied(drawing, {id_: self._draw(node) for id_, node in drawing.nodes.items()})
        )

    def _draw(self, node: SavedNode) -> DrawnNode:
        definition = self._workflow.subgraphs.get(node.kind)
        return self._drawer.draw(node) if definition is None else self._draw_subgraph(node, definition)

    def _draw_subgraph(self, node: SavedNode, definition: Drawing) -> DrawnNode:
        """The node that stands for a subgraph: a field for each input that leads to a field inside."""
        fields = {field.name: field for field in _promoted(definition, self.inside(node.kind))}
        shape = Layout(
            tuple(
                Socket(port.name, port.kind, port.name if port.name in fields else None) for port in definition.inputs
            ),
            tuple(fields.values()),
        )
        return DrawnNode(
            saved=node,
            title=node.title,
            runs=False,
            inputs=merged(shape.sockets, node),
            outputs=tuple(port.kind for port in definition.outputs),
            fields=fields,
            values=shape.values(_own_values(node, len(fields))),
            subgraph=node.kind,
        )


def _own_values(node: SavedNode, count: int) -> Values:
    """A subgraph's node has a value for each field; some versions of the editor saved the control of a seed with it."""
    if isinstance(node.values, Mapping) or len(node.values) <= count:
        return node.values
    before = (None, *node.values)
    return tuple(
        value for last, value in zip(before, node.values, strict=False) if not (type(last) is int and value in CONTROLS)
    )


def _promoted(definition: Drawing, inner: Canvas) -> Iterator[Field]:
    """For each input of a subgraph that leads to a field: that field under the input's name, as it is filled inside."""
    for port in definition.inputs:
        for id_ in port.links:
            link = definition.links.get(id_)
            target = inner.nodes.get(link.target) if link is not None else None
            if target is None:
                continue
            name = next((socket.field for socket in target.inputs if socket.link == id_), None)
            if name is not None and name in target.fields:
                field = target.fields[name]
                yield Field(port.name, target.values.get(name, ABSENT), field.form, spec=field.spec)
                break
