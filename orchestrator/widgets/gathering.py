"""What a proposal is gathered in: parameters, bindings that fit their inputs, titles that tell nodes apart. Pure.

Knows how a thing is proposed; what is worth proposing is `proposal`'s business.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator.comfy.catalog import Catalog, NodeClass
from orchestrator.comfy.graph import Graph, Node
from orchestrator.widgets import definition as d
from orchestrator.widgets.fit import parameter_faults


@dataclass
class Gathering:
    """What is proposed so far of a workflow that runs as `graph`."""

    graph: Graph
    catalog: Catalog
    parameters: dict[str, d.Parameter] = field(default_factory=dict)
    bindings: list[d.Binding] = field(default_factory=list)
    titles: dict[str, str] = field(default_factory=dict)
    """New titles, by node id."""
    left_out: list[str] = field(default_factory=list)
    """A sentence, without its full stop, for each thing that is not proposed."""

    def nodes(self) -> Iterator[tuple[str, Node, NodeClass]]:
        """Id, node and class of the nodes whose class is known."""
        for id_, node in self.graph.nodes.items():
            known = self.catalog.classes.get(node.class_type)
            if known is not None:
                yield id_, node, known

    def offer(
        self, name: str, made: d.Parameter, targets: list[tuple[str, str, str]], title: str | None = None
    ) -> str | None:
        """Adds a parameter with its bindings, unless an input would not take it; answers the name that it got."""
        fitting: list[d.Binding] = []
        for id_, input_name, form in targets:
            node = self.graph.nodes[id_]
            binding = d.Binding.model_validate({"parameter": name, "node": node.title, "input": input_name, "as": form})
            spec = self.catalog.classes[node.class_type].inputs[input_name]
            fault = next(parameter_faults(made, binding, spec), None)
            if fault is not None:
                self.left_out.append(f"'{node.title}', input '{input_name}': {fault}")
                continue
            fitting.append(binding.model_copy(update={"node": self.titled(id_, title)}))
        if not fitting:
            return None
        free = _free(name, self.parameters)
        self.parameters[free] = made
        self.bindings += [binding.model_copy(update={"parameter": free}) for binding in fitting]
        return free

    def follows(self, parameter: str, drawn: float, id_: str, input_name: str) -> bool:
        """Binds the input to a parameter that is there, if both are drawn alike; tells whether."""
        there = self.parameters.get(parameter)
        if not isinstance(there, d.IntegerParameter) or there.default != drawn:
            return False
        self.bindings.append(d.Binding(parameter=parameter, node=self.titled(id_), input=input_name))
        return True

    def titled(self, id_: str, wanted: str | None = None) -> str:
        """The node's title, or a new one where several nodes bear it, or the artist gave none and one is `wanted`."""
        if id_ in self.titles:
            return self.titles[id_]
        node = self.graph.nodes[id_]
        title, known = node.title, self.catalog.classes.get(node.class_type)
        taken = [self.titles.get(other, bearer.title) for other, bearer in self.graph.nodes.items() if other != id_]
        unnamed = known is not None and title in (known.title, known.name)
        if title not in taken and not (wanted and unnamed):
            return title
        base = wanted or title
        new, number = base, 2
        while new in taken:
            new, number = f"{base} {number}", number + 1
        self.titles[id_] = new
        return new


def _free(name: str, taken: Mapping[str, object]) -> str:
    new, number = name, 2
    while new in taken:
        new, number = f"{name}_{number}", number + 1
    return new
