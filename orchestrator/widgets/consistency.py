"""Does a definition agree with itself? Names that mean something, defaults that are values, nothing set twice. Pure."""

from collections import Counter
from collections.abc import Iterator

from orchestrator.widgets import definition as d
from orchestrator.widgets.fit import impossible
from orchestrator.widgets.literals import Unreadable, shown
from orchestrator.widgets.values import read


def definition_faults(definition: d.Definition) -> Iterator[str]:
    """One sentence for each thing in a widget.yaml that contradicts another."""
    yield from _parameter_faults(definition)
    yield from _name_faults(definition)
    yield from _node_faults(definition)
    for bypass in definition.bypass:
        for name, listed in bypass.when.items():
            parameter = definition.parameters.get(name)
            wrong: list[object] = [] if parameter is None else list(impossible(parameter, listed))
            if name == d.FAMILY:
                wrong = [value for value in listed if value not in definition.families]
            if name == d.CHANNELS:
                wrong = [value for value in listed if value not in (4, 9)]
            for value in wrong:
                yield f"node '{bypass.node}': bypassed when {name} is {shown(value)}, which it never is"


def _parameter_faults(definition: d.Definition) -> Iterator[str]:
    kinds = Counter(parameter.type for parameter in definition.parameters.values())
    if kinds["checkpoint"] != 1:
        yield f"parameters: there must be one of type checkpoint; there are {kinds['checkpoint']}"
    if kinds["seed"] > 1:
        yield f"parameters: there can be one of type seed; there are {kinds['seed']}"
    for word in d.MODEL_WORDS:
        if word in definition.parameters:
            yield f"parameters: {word} is a word of the bypass conditions, not a name for a parameter"
    for name, parameter in definition.parameters.items():
        default = getattr(parameter, "default", None)
        if default is None and isinstance(parameter, d.CheckpointParameter) and not parameter.required:
            yield f"parameters: {name} needs a default or required: true"
        if default is not None:
            try:
                read(parameter, default)
            except Unreadable as fault:
                yield f"parameters: {name}: the default {fault}"


def _name_faults(definition: d.Definition) -> Iterator[str]:
    """Parameters that are named and do not exist (or have the wrong type), and ones that exist and are not used."""
    used = {binding.parameter for binding in definition.bindings}
    used |= {name for bypass in definition.bypass for name in bypass.when}
    if definition.loras is not None:
        used.add(definition.loras.parameter)
        if not isinstance(definition.parameters.get(definition.loras.parameter), d.PromptParameter):
            yield f"loras: {definition.loras.parameter} is not a parameter of type prompt"
    known = definition.parameters.keys()
    for name in sorted(used - known - set(d.MODEL_WORDS)):
        yield f"there is no parameter {name}, which a binding, a bypass or loras names"
    for name in known - used:
        yield f"parameters: nothing uses {name}"
    for name, mask in definition.masks.items():
        if not isinstance(definition.parameters.get(mask.of), d.PictureParameter):
            yield f"parameters: {name}: of: {mask.of} is not a parameter of type picture"
        for other in (mask.blur, mask.invert, mask.only, mask.padding):
            if other is not None and not isinstance(definition.parameters.get(other), d.IntegerParameter):
                yield f"parameters: {name}: {other} is not a parameter of type integer"


def _node_faults(definition: d.Definition) -> Iterator[str]:
    """Inputs that are set twice, and nodes that are left out though they must not be."""
    times = Counter((binding.node, binding.input) for binding in definition.bindings)
    for (node, name), count in times.items():
        if count > 1:
            yield f"node '{node}', input '{name}': is bound {count} times"
    left_out = {bypass.node for bypass in definition.bypass}
    if definition.output in left_out:
        yield f"node '{definition.output}': the output cannot be bypassed"
    if definition.loras is not None and definition.loras.node in left_out:
        yield f"node '{definition.loras.node}': the LoRA loader leaves by itself; it cannot be bypassed too"
