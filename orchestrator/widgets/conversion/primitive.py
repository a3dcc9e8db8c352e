"""Primitive nodes: a value drawn once that the editor copies into the fields it is linked to. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from orchestrator.widgets.conversion import javascript, texts
from orchestrator.widgets.conversion.fields import Field
from orchestrator.widgets.conversion.nodes import PRIMITIVE, DrawnNode
from orchestrator.widgets.conversion.saved import Drawing

_MAY_DIFFER = frozenset(
    {"default", "forceInput", "defaultInput", "control_after_generate", "multiline", "tooltip", "dynamicPrompts"}
)
"""What two numbers' declarations may differ in and still share one primitive's range."""
_RANGE = frozenset({"min", "max", "step"})


def applied(drawing: Drawing, nodes: Mapping[str, DrawnNode]) -> Mapping[str, DrawnNode]:
    """The nodes of a drawing with the values of its primitive nodes in the fields that they are linked to."""
    values: dict[str, dict[str, object]] = {}
    for source in nodes.values():
        if source.saved.kind != PRIMITIVE:
            continue
        targets = list(_targets(drawing, nodes, source))
        if not targets:
            continue
        value = _value(source, targets)
        if source.saved.replaces and isinstance(value, str):
            value = texts.with_names(value, nodes.values())
        for node, field in targets:
            values.setdefault(node.saved.id, {})[field.name] = field.settle(field.take(value))
    return {
        id_: replace(node, values={**node.values, **values[id_]}) if id_ in values else node
        for id_, node in nodes.items()
    }


def _targets(drawing: Drawing, nodes: Mapping[str, DrawnNode], source: DrawnNode) -> Iterator[tuple[DrawnNode, Field]]:
    for node in nodes.values():
        for socket in node.inputs:
            link = drawing.links.get(socket.link) if socket.link is not None else None
            field = node.fields.get(socket.field) if socket.field is not None else None
            if link is not None and link.origin == source.saved.id and field is not None:
                yield node, field


def _value(source: DrawnNode, targets: list[tuple[DrawnNode, Field]]) -> object:
    """What the primitive holds: its saved value or else its first target's, in the range that all of them share."""
    node, first = targets[0]
    saved = source.saved.values
    value = first.take(saved[0]) if isinstance(saved, tuple) and saved else node.values.get(first.name)
    if first.spec is None or first.spec.kind not in ("INT", "FLOAT"):
        return value
    number = javascript.number(value)
    if number is None:
        return value
    low, high = -math.inf, math.inf
    for _, field in targets:
        limits = _limits(first, field)
        if limits is not None:
            low, high = max(low, limits[0]), min(high, limits[1])
    return first.settle(min(max(number, low), high)) if low <= high else value


def _limits(first: Field, other: Field) -> tuple[float, float] | None:
    """The range of a field that can share a primitive with the first one, None if it cannot."""
    if first.spec is None or other.spec is None or first.spec.kind != other.spec.kind:
        return None
    mine, theirs = first.spec.options, other.spec.options
    compared = (mine.keys() | theirs.keys()) - _MAY_DIFFER - _RANGE
    if any(mine.get(name) != theirs.get(name) for name in compared):
        return None
    low, high = other.spec.minimum, other.spec.maximum
    return (-math.inf if low is None else low, math.inf if high is None else high)
