"""Primitive nodes: a value drawn once that the editor copies into the fields it is linked to. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from orchestrator.comfy.catalog import InputSpec
from orchestrator.widgets.conversion import javascript, texts
from orchestrator.widgets.conversion.fields import Field
from orchestrator.widgets.conversion.nodes import PRIMITIVE, DrawnNode
from orchestrator.widgets.conversion.saved import Drawing

_MAY_DIFFER = frozenset(
    {"default", "forceInput", "defaultInput", "control_after_generate", "multiline", "tooltip", "dynamicPrompts"}
)
"""What two numbers' declarations may differ in and still share one primitive's range."""
_RANGE = frozenset({"min", "max", "step"})


@dataclass(frozen=True)
class Shared:
    """What a primitive node draws: the field of the first one that it is linked to, narrowed to suit the others."""

    targets: tuple[tuple[DrawnNode, Field], ...]
    """The fields that it fills, in the order of its links."""
    narrowed: tuple[Field, ...]
    """For a number: the field as it was after each further target; ranges are met, steps multiplied until both fit."""

    def hold(self, value: object) -> object:
        """What it holds once the editor has put `value` into it and narrowed it target by target."""
        held = self.targets[0][1].take(value)
        for field in self.narrowed:
            number = javascript.number(held)
            if number is None or field.spec is None:
                return held
            low, high = _limits(field.spec)
            held = field.settle(min(max(number, low), high))
        return held


def shared(drawing: Drawing, nodes: Mapping[str, DrawnNode], source: DrawnNode) -> Shared | None:
    """What a primitive node draws; None if it is linked to no field."""
    targets = tuple(_targets(drawing, nodes, source))
    return Shared(targets, tuple(_narrowed([field for _, field in targets]))) if targets else None


def applied(drawing: Drawing, nodes: Mapping[str, DrawnNode]) -> Mapping[str, DrawnNode]:
    """The nodes of a drawing with the values of its primitive nodes in the fields that they are linked to."""
    values: dict[str, dict[str, object]] = {}
    for source in nodes.values():
        drawn = shared(drawing, nodes, source) if source.saved.kind == PRIMITIVE else None
        if drawn is None:
            continue
        node, first = drawn.targets[0]
        saved = source.saved.values
        value = drawn.hold(saved[0] if isinstance(saved, tuple) and saved else node.values.get(first.name))
        if source.saved.replaces and isinstance(value, str):
            value = texts.with_names(value, nodes.values())
        for node, field in drawn.targets:
            values.setdefault(node.saved.id, {})[field.name] = field.settle(field.take(value))
    return {
        id_: replace(node, values={**node.values, **values[id_]}) if id_ in values else node
        for id_, node in nodes.items()
    }


def _targets(drawing: Drawing, nodes: Mapping[str, DrawnNode], source: DrawnNode) -> list[tuple[DrawnNode, Field]]:
    """In the order in which the node lists its links; those that it does not list come last."""
    found: list[tuple[int, DrawnNode, Field]] = []
    for node in nodes.values():
        for socket in node.inputs:
            link = drawing.links.get(socket.link) if socket.link is not None else None
            field = node.fields.get(socket.field) if socket.field is not None else None
            if socket.link is not None and link is not None and link.origin == source.saved.id and field is not None:
                found.append((socket.link, node, field))
    places = {id_: place for place, id_ in enumerate(source.saved.feeds)}
    found.sort(key=lambda target: places.get(target[0], len(places)))
    return [(node, field) for _, node, field in found]


def _narrowed(fields: list[Field]) -> Iterator[Field]:
    first = fields[0].spec
    if first is None or first.kind not in ("INT", "FLOAT"):
        return
    met: InputSpec = first
    for field in fields:
        further = _met(met, field.spec)
        if further is not None:
            met = further
            yield replace(fields[0], spec=met)


def _met(one: InputSpec, other: InputSpec | None) -> InputSpec | None:
    """The declaration of numbers that suit both; None if there are none, or the two differ in more than their range."""
    if other is None or one.kind != other.kind:
        return None
    compared = (one.options.keys() | other.options.keys()) - _MAY_DIFFER - _RANGE
    if any(one.options.get(name) != other.options.get(name) for name in compared):
        return None
    (low, high), (low2, high2) = _limits(one), _limits(other)
    low, high = max(low, low2), min(high, high2)
    if low > high:
        return None
    step = _common_multiple(javascript.option(one.options, "step", 1), javascript.option(other.options, "step", 1))
    options = {**one.options, **other.options, "min": low, "max": high, "step": step}
    return replace(one, minimum=low, maximum=high, options=options)


def _limits(spec: InputSpec) -> tuple[float, float]:
    low, high = spec.minimum, spec.maximum
    return (-math.inf if low is None else low, math.inf if high is None else high)


def _common_multiple(one: float, other: float) -> float:
    """The least one of two steps, 0 if both are 0, with the error that fractions have in JavaScript."""
    divisor, rest = one, other
    while rest:
        divisor, rest = rest, math.fmod(divisor, rest)
    return abs(one * other) / divisor if divisor else 0
