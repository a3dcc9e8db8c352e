"""Is a workflow folder sound? Every fault that can be seen without a run, in one list, before the service starts.

ComfyUI drops an input that a class does not declare without a word, and a binding to a node that was renamed would
silently do nothing; so titles, inputs, types, links and ranges are all compared with the node catalogue. Pure.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from orchestrator.comfy.catalog import Catalog, InputSpec, NodeClass
from orchestrator.comfy.graph import Graph, Link, Node
from orchestrator.errors import WorkflowError
from orchestrator.widgets import definition as d
from orchestrator.widgets.consistency import definition_faults
from orchestrator.widgets.drawing import Template
from orchestrator.widgets.fit import is_drawn, parameter_faults, same_type, value_fault
from orchestrator.widgets.offers import offer_faults, offered_samplers
from orchestrator.widgets.widget import Widget

_LORA_INPUTS = {"lora_name": "COMBO", "strength_model": "FLOAT", "strength_clip": "FLOAT"}
_MOST_TITLES = 12
"""So many are listed for one that is misspelt."""


def audit(name: str, definition: d.Definition, template: Template, catalog: Catalog) -> Widget:
    """The widget that a folder's definition and workflow make. Raises WorkflowError with one line for each fault."""
    graph = template.graph
    faults = list(definition_faults(definition))
    nodes, title_faults = _named_nodes(definition, graph)
    faults += title_faults
    bound = {(nodes[b.node], b.input) for b in definition.bindings if b.node in nodes}
    if definition.loras is not None and definition.loras.node in nodes:
        bound |= {(nodes[definition.loras.node], name) for name in _LORA_INPUTS}
    faults += graph_faults(graph, catalog, bound)
    view = _View(definition, graph, catalog, nodes)
    faults += view.binding_faults()
    passages: dict[str, Mapping[int, str]] = {}
    for title in view.removable():
        passage, passage_faults = view.passage(title)
        passages[title] = passage
        faults += passage_faults
    offers = offered_samplers(definition, graph, nodes, catalog)
    faults += offer_faults(definition, offers)
    faults += view.lora_faults()
    faults += view.output_faults()
    if faults:
        raise WorkflowError("\n".join(dict.fromkeys(faults)))
    return Widget(name, definition, graph, template, nodes, passages, offers)


def graph_faults(graph: Graph, catalog: Catalog, bound: set[tuple[str, str]] | None = None) -> Iterator[str]:
    """What in a graph its nodes' classes do not allow; the drawn values of `bound` (node id, input) do not count."""
    for id_, node in graph.nodes.items():
        known = catalog.classes.get(node.class_type)
        if known is None:
            yield f"node '{node.title}': the class {node.class_type} is not in the node catalogue"
            continue
        for name in known.inputs.keys() | node.inputs.keys():
            fault = _input_fault(graph, catalog, node, known, name, (id_, name) in (bound or ()))
            if fault:
                yield at(node.title, name, fault)
    links = {id_: [v.node for v in node.inputs.values() if isinstance(v, Link)] for id_, node in graph.nodes.items()}
    try:
        TopologicalSorter(links).prepare()
    except CycleError as fault:
        circle = " → ".join(f"'{graph.nodes[id_].title}'" for id_ in fault.args[1] if id_ in graph.nodes)
        yield f"the nodes feed one another in a circle: {circle}"


def at(title: str, name: str, fault: str) -> str:
    """A fault as a line that names the node and its input."""
    return f"node '{title}', input '{name}': {fault}"


def _input_fault(graph: Graph, catalog: Catalog, node: Node, known: NodeClass, name: str, bound: bool) -> str | None:
    spec = known.inputs.get(name)
    if spec is None:
        return f"the class {node.class_type} has no such input; ComfyUI would drop it without a word"
    if name not in node.inputs:
        return "is required and not there" if spec.required else None
    value = node.inputs[name]
    if isinstance(value, Link):
        return "is bound and linked at once; unlink it" if bound else _link_fault(graph, catalog, value, spec)
    if not is_drawn(spec):
        return f"takes a link of type {spec.kind}, not a value"
    return None if bound else value_fault(spec, value)


def _link_fault(graph: Graph, catalog: Catalog, link: Link, spec: InputSpec) -> str | None:
    if link.node not in graph.nodes:
        return f"is linked to node {link.node}, which is not in the graph"
    source = graph.nodes[link.node]
    known = catalog.classes.get(source.class_type)
    if known is None:
        return None  # said where that node stands
    if not 0 <= link.slot < len(known.outputs):
        return f"is linked to output {link.slot} of '{source.title}', which has {len(known.outputs)}"
    output = known.outputs[link.slot]
    return None if same_type(output, spec.kind) else f"takes {spec.kind}, but '{source.title}' gives {output}"


def _named_nodes(definition: d.Definition, graph: Graph) -> tuple[dict[str, str], list[str]]:
    """Title → id for each title that the definition names, and the titles that no node or several nodes bear."""
    titles = [definition.output, *(b.node for b in definition.bindings), *(b.node for b in definition.bypass)]
    if definition.loras is not None:
        titles.append(definition.loras.node)
    nodes: dict[str, str] = {}
    faults = []
    for title in dict.fromkeys(titles):
        bearers = [id_ for id_, node in graph.nodes.items() if node.title == title]
        if len(bearers) == 1:
            nodes[title] = bearers[0]
        else:
            how = f"{len(bearers)} nodes have" if bearers else "no node has"
            others = "" if bearers else _other_titles(graph, titles)
            faults.append(f"node '{title}': {how} this title, which widget.yaml names{others}")
    return nodes, faults


def _other_titles(graph: Graph, named: Collection[str]) -> str:
    """The titles that could be meant by one that no node has."""
    others = [
        f"'{title}'" for title in dict.fromkeys(node.title for node in graph.nodes.values()) if title not in named
    ]
    more = ", …" if len(others) > _MOST_TITLES else ""
    return f"; titles that it does not name: {', '.join(others[:_MOST_TITLES])}{more}" if others else ""


@dataclass(frozen=True)
class _View:
    """One folder as the audit looks at it: the definition over the graph over the catalogue."""

    definition: d.Definition
    graph: Graph
    catalog: Catalog
    nodes: Mapping[str, str]

    def _class(self, title: str) -> NodeClass | None:
        """The class of a node; None if title or class is unknown, which is said elsewhere."""
        node = self.nodes.get(title)
        return None if node is None else self.catalog.classes.get(self.graph.nodes[node].class_type)

    def binding_faults(self) -> Iterator[str]:
        for binding in self.definition.bindings:
            known = self._class(binding.node)
            parameter = self.definition.parameters.get(binding.parameter)
            if known is None or parameter is None:
                continue
            spec = known.inputs.get(binding.input)
            if spec is None:
                yield at(
                    binding.node, binding.input, f"bound to {binding.parameter}, but {known.name} has no such input"
                )
                continue
            for fault in parameter_faults(parameter, binding, spec):
                yield at(binding.node, binding.input, f"bound to {binding.parameter}: {fault}")
            if binding.form == "start_at_step":
                steps = self.graph.nodes[self.nodes[binding.node]].inputs.get("steps")
                if type(steps) is not int:
                    yield at(binding.node, binding.input, "start_at_step needs a number in the node's input 'steps'")

    def removable(self) -> list[str]:
        """The titles of the nodes that some request leaves out of the graph."""
        titles = [bypass.node for bypass in self.definition.bypass]
        if self.definition.loras is not None:
            titles.append(self.definition.loras.node)
        return [title for title in dict.fromkeys(titles) if self._class(title) is not None]

    def passage(self, title: str) -> tuple[dict[int, str], list[str]]:
        """For each output in use, the input whose source stands in when the node is left out.

        As in ComfyUI's editor: the input at the output's own place if it is of its type, else the first of its type.
        """
        id_ = self.nodes[title]
        known = self.catalog.classes[self.graph.nodes[id_].class_type]
        used = {
            value.slot
            for node in self.graph.nodes.values()
            for value in node.inputs.values()
            if isinstance(value, Link) and value.node == id_
        }
        passage: dict[int, str] = {}
        faults = []
        for slot, output in enumerate(known.outputs):
            fitting = [name for name, spec in known.inputs.items() if spec.kind == output]
            same_place = list(known.inputs)[slot : slot + 1]
            name = next((name for name in (*same_place, *fitting) if name in fitting), None)
            if name is not None and isinstance(self.graph.nodes[id_].inputs.get(name), Link):
                passage[slot] = name
            elif slot in used:
                faults.append(f"node '{title}': cannot be left out, for it has no linked input of type {output}")
        return passage, faults

    def lora_faults(self) -> Iterator[str]:
        if self.definition.loras is None:
            return
        title = self.definition.loras.node
        known = self._class(title)
        if known is None:
            return
        for name, kind in _LORA_INPUTS.items():
            if name not in known.inputs or known.inputs[name].kind != kind:
                yield at(title, name, f"a LoRA loader has such an input of type {kind}; {known.name} has not")
        for kind in ("MODEL", "CLIP"):
            if kind not in known.outputs or all(spec.kind != kind for spec in known.inputs.values()):
                yield f"node '{title}': a LoRA loader takes and gives {kind}; {known.name} does not"

    def output_faults(self) -> Iterator[str]:
        title = self.definition.output
        known = self._class(title)
        if known is not None and not known.output_node:
            yield f"node '{title}': is the widget's output, but {known.name} is not an output node"
