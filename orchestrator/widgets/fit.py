"""Does a value, or every value of a parameter, lie in what a node's input takes? Sentences about what does not.

Pure; sees one input at a time. Which inputs to ask about is the audit's business.
"""

import re
from collections.abc import Iterable, Iterator

from orchestrator.comfy.catalog import InputSpec
from orchestrator.widgets import definition as d
from orchestrator.widgets.literals import shown
from orchestrator.widgets.samplers import SAMPLERS

# A combo of files lists what one machine had when the catalogue was made: any name may stand in the drawing.
_FILE = re.compile(r"\.(safetensors|ckpt|pth?|bin|gguf|ya?ml|png|jpe?g|webp|gif|mp4|wav|mp3)$", re.IGNORECASE)
_WIDGET_KINDS = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"})


def is_drawn(spec: InputSpec) -> bool:
    """True if the input is a field on the node (a number, text, choice), False if only a link can fill it."""
    return spec.kind in _WIDGET_KINDS


def same_type(output: str, spec_kind: str) -> bool:
    """True if ComfyUI lets an output of one type feed an input of the other ("*" is any, "A,B" either)."""
    ours, theirs = set(output.split(",")), set(spec_kind.split(","))
    return "*" in ours | theirs or bool(ours & theirs)


def value_fault(spec: InputSpec, value: object) -> str | None:
    """What is wrong with `value` in that input, or None."""
    if not _has_kind(spec.kind, value):
        return f"is {shown(value)}, but the input takes {spec.kind}"
    listed = spec.kind != "COMBO" or value in (spec.choices or ())
    if not listed and not _lists_files(spec) and not _FILE.search(str(value)):
        return f"is {shown(value)}, which is not one of the node's choices"
    if isinstance(value, int | float) and spec.kind in ("INT", "FLOAT"):
        return _range_fault(spec, value, value)
    return None


def parameter_faults(parameter: d.Parameter, binding: d.Binding, spec: InputSpec) -> Iterator[str]:
    """What of a parameter's possible values the bound input would not take."""
    if binding.choices is not None:
        yield from _choice_faults(parameter, binding, spec)
        return
    wanted = _wanted_kinds(parameter, binding)
    if wanted is None:
        yield f"a parameter of type {parameter.type} cannot be bound as {binding.form}"
    elif spec.kind not in wanted:
        needs = " or ".join(wanted)
        yield f"takes {spec.kind}; a parameter of type {parameter.type}, bound as {binding.form}, needs {needs}"
    elif isinstance(parameter, d.SamplerParameter):
        return  # which samplers the node lists is what the widget offers (see `offers`)
    elif isinstance(parameter, d.ChoiceParameter):
        yield from filter(None, (value_fault(spec, option) for option in parameter.options))
    else:
        yield from _limit_faults(parameter, binding, spec)


def _wanted_kinds(parameter: d.Parameter, binding: d.Binding) -> tuple[str, ...] | None:
    """The kinds of input that a parameter can be bound to in that form; None if the form makes no sense for it."""
    match parameter, binding.form:
        case ((d.PictureParameter() | d.MaskParameter() | d.CheckpointParameter()), "value"):
            return ("COMBO", "STRING")
        case ((d.PromptParameter() | d.TextParameter()), "value"):
            return ("STRING",)
        case d.ChoiceParameter(), "value":
            return ("COMBO", "STRING")
        case d.IntegerParameter(), "value":
            return ("INT", "FLOAT")
        case (d.IntegerParameter(), "negative") | (d.SeedParameter(), "value") | (d.NumberParameter(), "start_at_step"):
            return ("INT",)
        case d.NumberParameter(), "value":
            return ("FLOAT",)
        case d.SamplerParameter(), ("sampler_name" | "scheduler"):
            return ("COMBO",)
    return None


def _limit_faults(parameter: d.Parameter, binding: d.Binding, spec: InputSpec) -> Iterator[str]:
    fault: str | None = None
    match parameter:
        case d.SeedParameter():
            fault = _range_fault(spec, 0, d.LARGEST_SEED)
        case d.NumberParameter() if binding.form == "start_at_step":
            if parameter.minimum < 0 or parameter.maximum > 1:
                fault = "a strength that start_at_step is made of lies between 0 and 1"
        case d.IntegerParameter() if binding.form == "negative":
            fault = _range_fault(spec, -parameter.maximum, -parameter.minimum)
        case d.IntegerParameter() | d.NumberParameter():
            fault = _range_fault(spec, parameter.minimum, parameter.maximum)
    if fault:
        yield fault


def _choice_faults(parameter: d.Parameter, binding: d.Binding, spec: InputSpec) -> Iterator[str]:
    if binding.form != "value":
        yield f"choices and as: {binding.form} exclude one another"
    for key, value in (binding.choices or {}).items():
        if not _possible(parameter, key):
            yield f"choices: {shown(key)} is no value of {binding.parameter}"
        fault = value_fault(spec, value)
        if fault:
            yield f"choices: {fault}"


def impossible(parameter: d.Parameter, values: Iterable[object]) -> tuple[object, ...]:
    """Those of `values` that the parameter can never have."""
    return tuple(value for value in values if not _possible(parameter, value))


def _possible(parameter: d.Parameter, value: object) -> bool:
    match parameter:
        case d.IntegerParameter():
            return type(value) is int and parameter.minimum <= value <= parameter.maximum
        case d.NumberParameter():
            return type(value) in (int, float) and parameter.minimum <= float(str(value)) <= parameter.maximum
        case d.SamplerParameter():
            return any(sampler.name == value for sampler in SAMPLERS)
        case d.ChoiceParameter():
            return value in parameter.options
        case d.CheckpointParameter() | d.PromptParameter() | d.TextParameter():
            return isinstance(value, str)
    return False


def _range_fault(spec: InputSpec, low: float, high: float) -> str | None:
    if (spec.minimum is None or spec.minimum <= low) and (spec.maximum is None or high <= spec.maximum):
        return None
    given = f"is {low}" if low == high else f"may be from {low} to {high}"
    return f"{given}, but the input takes {_bound(spec.minimum)} to {_bound(spec.maximum)}"


def _bound(limit: float | None) -> str:
    return "any" if limit is None else str(limit)


def _lists_files(spec: InputSpec) -> bool:
    return all(isinstance(choice, str) and _FILE.search(choice) for choice in spec.choices or ())


def _has_kind(kind: str, value: object) -> bool:
    match kind:
        case "INT":
            return type(value) is int
        case "FLOAT":
            return type(value) in (int, float)
        case "STRING":
            return isinstance(value, str)
        case "BOOLEAN":
            return isinstance(value, bool)
        case "COMBO":
            return isinstance(value, str | int | float)
    return False
