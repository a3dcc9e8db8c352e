"""A widget as other programs see it: JSON Schema (draft 2020-12) of its parameters, and a short entry for the list.

The schema describes the canonical form of a request; the service also takes "25" for 25 and "" for a default. Pure.

Beside JSON Schema's own words a property has `x-type`, the parameter's type in widget.yaml, for programs that make a
form of it; a mask has `x-of`, its picture's name, and what few callers change `x-advanced: true`.
"""

from collections.abc import Sequence

from orchestrator.widgets import definition as d
from orchestrator.widgets.samplers import Sampler
from orchestrator.widgets.values import read
from orchestrator.widgets.widget import Widget

JsonObject = dict[str, object]


def json_schema(widget: Widget) -> JsonObject:
    """The JSON Schema object of a widget's request body. `required` lists what has no default."""
    parameters = widget.definition.parameters
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": widget.title,
        "description": widget.description,
        "type": "object",
        "properties": {
            name: _property(parameter, widget.samplers.get(name, ())) for name, parameter in parameters.items()
        },
        "required": [name for name, p in parameters.items() if p.required and getattr(p, "default", None) is None],
        "additionalProperties": True,
    }


def summary(widget: Widget) -> JsonObject:
    """The widget's entry in the list of all widgets."""
    return {
        "name": widget.name,
        "title": widget.title,
        "description": widget.description,
        "families": list(widget.families),
        "parameters": list(widget.definition.parameters),
    }


def _property(parameter: d.Parameter, samplers: Sequence[Sampler]) -> JsonObject:
    described: JsonObject = {"description": " ".join(parameter.help.split()), "x-type": parameter.type}
    if isinstance(parameter, d.MaskParameter):
        described["x-of"] = parameter.of
    if parameter.advanced:
        described["x-advanced"] = True
    default = _default(parameter)
    if default is not None:
        described["default"] = default
    return _shape(parameter, samplers) | described


def _default(parameter: d.Parameter) -> object:
    """The default as a caller would write it."""
    value = None if getattr(parameter, "default", None) is None else read(parameter, None)
    return value.name if isinstance(value, Sampler) else value


def _shape(parameter: d.Parameter, samplers: Sequence[Sampler]) -> JsonObject:
    match parameter:
        case d.PictureParameter() | d.MaskParameter():
            return {
                "type": "string",
                "anyOf": [
                    {"title": "URL or data URL", "format": "uri"},
                    {"title": "bare base64", "contentEncoding": "base64", "contentMediaType": "image/*"},
                ],
            }
        case d.PromptParameter() | d.TextParameter():
            return {"type": "string", "maxLength": parameter.longest}
        case d.CheckpointParameter():
            return {"type": "string", "pattern": "^[^/\\\\]+$"}
        case d.IntegerParameter():
            shape: JsonObject = {"type": "integer", "minimum": parameter.minimum, "maximum": parameter.maximum}
            if parameter.labels is not None:
                shape["oneOf"] = [{"const": number, "title": label} for number, label in parameter.labels.items()]
            return shape
        case d.NumberParameter():
            return {"type": "number", "minimum": parameter.minimum, "maximum": parameter.maximum}
        case d.SeedParameter():
            return {"type": "integer", "minimum": -1, "maximum": d.LARGEST_SEED}
        case d.ChoiceParameter():
            return {"type": "string", "enum": list(parameter.options)}
        case d.SamplerParameter():
            return {"type": "string", "enum": [sampler.name for sampler in samplers]}
