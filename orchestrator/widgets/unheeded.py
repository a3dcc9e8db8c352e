"""What an artist changed in a drawing and callers do not get, for the widget.yaml that is kept says otherwise. Pure.

Without a word of it, a number that is changed and published again looks as if it were lost.
"""

from collections.abc import Iterator

from orchestrator.comfy.graph import Graph, Link
from orchestrator.widgets import definition as d
from orchestrator.widgets.literals import shown
from orchestrator.widgets.samplers import SAMPLERS
from orchestrator.widgets.widget import Widget


def unheeded(widget: Widget, before: Graph) -> Iterator[str]:
    """A sentence for each parameter whose drawn value is another than in the drawing `before`, and not its default."""
    drawn_before = {(node.title, name): value for node in before.nodes.values() for name, value in node.inputs.items()}
    told: set[str] = set()
    for binding in widget.definition.bindings:
        name, parameter = binding.parameter, widget.definition.parameters[binding.parameter]
        drawn = widget.graph.nodes[widget.nodes[binding.node]].inputs.get(binding.input)
        if name in told or isinstance(drawn, Link) or drawn == drawn_before.get((binding.node, binding.input), drawn):
            continue
        default = getattr(parameter, "default", None)
        if default is None or _is_drawn(parameter, binding, drawn):
            continue
        told.add(name)
        yield f"{name} is {shown(drawn)} in the drawing; callers still get {shown(default)}, as widget.yaml says."


def _is_drawn(parameter: d.Parameter, binding: d.Binding, drawn: object) -> bool:
    """Whether the default puts into the input what is drawn there, or one cannot tell."""
    match parameter, binding.form:
        case (d.SeedParameter(), _) | (_, "start_at_step"):
            return True
        case d.CheckpointParameter(), _:
            return str(drawn).startswith(f"{parameter.default}.")
        case d.SamplerParameter(), _:
            sampler = next((sampler for sampler in SAMPLERS if sampler.name == parameter.default), None)
            return sampler is None or drawn in (sampler.sampler_name, sampler.scheduler)
        case d.IntegerParameter(default=int(default)), "negative":
            return drawn == -default
    return binding.choices is not None or drawn == getattr(parameter, "default", None)
