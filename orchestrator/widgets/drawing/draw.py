"""The workflow that the editor opens as a job's graph: the artist's layout with the job's values. Pure.

Whatever the editor would make of it is judged by `conversion`, which the editor itself judges (see tests/contract).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator.comfy.graph import Graph, Input, Link
from orchestrator.widgets.conversion.saved import BYPASSED, MUTED
from orchestrator.widgets.drawing.loaders import add_loaders
from orchestrator.widgets.drawing.places import Held, InputId, Place, Template
from orchestrator.widgets.drawing.sheet import Json, Sheet
from orchestrator.widgets.drawing.written import can_be_copied, literal


@dataclass(frozen=True)
class Changes:
    """What was done to the drawn graph besides setting values; ids are those of the graph."""

    bypassed: frozenset[str] = frozenset()
    loaders: tuple[str, ...] = ()
    """The LoRA loaders in a row, the drawn one first; () if it stands as it was drawn or is bypassed."""
    passage: Mapping[int, str] = field(default_factory=dict)
    """For each of the loader's outputs, the input that it passes on."""


def draw(template: Template, graph: Graph, changes: Changes) -> Json:
    """The template's workflow, saved again so that it runs as `graph`.

    Nodes that are left out are bypassed or muted in it, added loaders stand beside the drawn one.
    """
    sheet = template.sheet()
    for id_ in template.graph.nodes:
        if id_ in changes.bypassed:
            sheet.set_mode(*_at(id_), BYPASSED)
        elif id_ not in graph.nodes:
            sheet.set_mode(*_at(id_), MUTED)
    if len(changes.loaders) > 1:
        _add_loaders(sheet, graph, changes)
    _set_values(sheet, template, graph)
    return sheet.workflow


def _at(id_: str) -> tuple[tuple[str, ...], str]:
    *path, own = id_.split(":")
    return tuple(path), own


def _add_loaders(sheet: Sheet, graph: Graph, changes: Changes) -> None:
    drawn, *new = changes.loaders
    path, own = _at(drawn)
    add_loaders(sheet, path, own, {_at(id_)[1]: graph.nodes[id_].title for id_ in new}, changes.passage)
    for id_ in new:
        for name, value in graph.nodes[id_].inputs.items():
            if not isinstance(value, Link):
                sheet.write(Place(path, _at(id_)[1], name), value)
            elif name not in changes.passage.values():
                sheet.link_alike(path, own, _at(id_)[1], name)


def _set_values(sheet: Sheet, template: Template, graph: Graph) -> None:
    """Writes what differs from the drawing. An input whose place has to hold something else for another input is cut
    off from it and gets a value of its own."""
    changed = dict(_changed(template, graph))
    for place in dict.fromkeys(template.held[id_].place for id_ in changed):
        ids = [id_ for id_ in changed if place is None and template.held[id_].place is None]
        if place is not None:
            ids = [id_ for id_ in template.holders[place] if id_.node in graph.nodes]
        kept: object = None
        for id_ in ids:
            held, value = template.held[id_], graph.nodes[id_.node].inputs[id_.name]
            shown = literal(held.field, value, as_it_is=held.is_outside)
            if place is not None and _carries(held, shown) and (kept is None or kept == shown):
                kept = shown
            else:
                sheet.cut(held.own.path, held.own.node, id_.name)
                sheet.write(held.own, literal(held.field, value))
        if place is not None and kept is not None:
            sheet.write(place, kept)


def _carries(held: Held, text: object) -> bool:
    return held.primitive is None or can_be_copied(held.primitive, held.field, text)


def _changed(template: Template, graph: Graph) -> Iterator[tuple[InputId, Input]]:
    for id_, drawn in template.graph.nodes.items():
        node = graph.nodes.get(id_)
        for name, value in node.inputs.items() if node is not None else ():
            before = drawn.inputs.get(name)
            if not isinstance(value, Link) and (value != before or type(value) is not type(before)):
                yield InputId(id_, name), value
