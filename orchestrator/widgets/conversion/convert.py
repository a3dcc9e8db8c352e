"""From a saved workflow to the graph that runs, as the editor makes it when the artist presses Run. Pure.

Judged by the editor itself: class and inputs of every node equal its `graphToPrompt` (see tests/contract). Where the
editor fails or gives nothing useful, the graph says what the artist drew: a class that the catalogue does not have
keeps its name and the fields that were saved with sockets, and a link to a node that is gone is no link.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from orchestrator.comfy.catalog import Catalog, NodeClass
from orchestrator.comfy.graph import Graph, Link, Node
from orchestrator.errors import WorkflowError
from orchestrator.widgets.conversion import texts
from orchestrator.widgets.conversion.canvas import Canvases
from orchestrator.widgets.conversion.fields import ABSENT, Field, layout
from orchestrator.widgets.conversion.links import Fixed, Level, Tracer, levels
from orchestrator.widgets.conversion.nodes import DrawnNode
from orchestrator.widgets.conversion.saved import BYPASSED, MUTED, read_workflow

_NAMES_FILES = frozenset(
    {
        "SaveImage",
        "SaveAnimatedWEBP",
        "SaveWEBM",
        "SaveAudio",
        "SaveGLB",
        "SaveAnimatedPNG",
        "CLIPSave",
        "VAESave",
        "ModelSave",
        "LoraSave",
        "SaveLatent",
    }
)
"""The classes in whose `filename_prefix` the editor fills in the names of other nodes' fields."""


def convert(workflow: object, catalog: Catalog) -> Graph:
    """The graph that the decoded JSON of a saved workflow runs as, with the node classes of `catalog`.

    Raises WorkflowError if the file is malformed, a subgraph holds itself, links lead in a circle, a number is NaN or
    infinite, or nothing is left.
    """
    canvases = Canvases(read_workflow(workflow), catalog)
    every_level = list(levels(canvases))
    drawn = {level.id_of(n): (level, level.as_shown(n)) for level in every_level for n in level.canvas.nodes.values()}
    running = {id_: (level, node) for id_, (level, node) in drawn.items() if _runs(node)}
    if not running:
        raise WorkflowError("no node of the workflow runs: it is empty, or all are muted or bypassed")
    tracer = Tracer(canvases)
    named = [node for _, node in drawn.values()]
    prompt: dict[str, object] = {}
    for id_, (level, node) in running.items():
        inputs = dict(_held(node, named))
        for name, source in _fed(tracer, level, node):
            if isinstance(source, Fixed):
                inputs[name] = source.value
            elif source.node in running:
                inputs[name] = source
            else:
                inputs.pop(name, None)
        api = {name: _sent(value) for name, value in inputs.items() if value is not ABSENT}
        unsaid = next((name for name, value in api.items() if not _is_json(value)), None)
        if unsaid is not None:
            raise WorkflowError(f"{node.saved.shown}, input '{unsaid}': JSON has no such number")
        prompt[id_] = {"class_type": node.saved.kind, "inputs": api, "_meta": {"title": node.title}}
    return Graph.from_api(prompt)


def without_editor_fields(graph: Graph, catalog: Catalog) -> Graph:
    """The graph without what the editor's own fields send (players, previews, buttons), which no class declares."""
    return Graph({id_: _declared_only(node, catalog.classes.get(node.class_type)) for id_, node in graph.nodes.items()})


def _declared_only(node: Node, known: NodeClass | None) -> Node:
    if known is None:
        return node
    added = {field.name for field in layout(known).fields if field.spec is None} - known.inputs.keys()
    return replace(node, inputs={name: value for name, value in node.inputs.items() if name not in added})


def _runs(node: DrawnNode) -> bool:
    return node.runs and node.saved.mode not in (MUTED, BYPASSED)


def _held(node: DrawnNode, named: list[DrawnNode]) -> Iterator[tuple[str, object]]:
    """What the node's own fields send."""
    for field in node.fields.values():
        if field.sent:
            yield field.name, _as_text(node, field, node.values[field.name], named)


def _as_text(node: DrawnNode, field: Field, value: object, named: list[DrawnNode]) -> object:
    if not isinstance(value, str):
        return value
    if field.name == "filename_prefix" and node.saved.kind in _NAMES_FILES:
        return texts.with_names(value, named)
    return texts.prompt(value) if field.has_alternatives else value


def _fed(tracer: Tracer, level: Level, node: DrawnNode) -> Iterator[tuple[str, Link | Fixed]]:
    """What links send, by input."""
    for slot, socket in enumerate(node.inputs):
        source = tracer.source(level, node, slot)
        if source is not None:
            yield socket.name, source


def _sent(value: object) -> object:
    """A value in the API format, in which a bare list would be a link."""
    if isinstance(value, Link):
        return [value.node, value.slot]
    return {"__value__": list(value)} if isinstance(value, list | tuple) else value


def _is_json(value: object) -> bool:
    """False if a number in it is NaN or infinite, which Python's reader takes and no other does."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case Mapping() as items:
                waiting += items.values()
            case list() | tuple() as items:
                waiting += items
            case float() as number if not math.isfinite(number):
                return False
    return True
