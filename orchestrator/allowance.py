"""Whether a caller may ask for so much: steps and pixels of one job against the limits of its key. Pure.

Only what a caller sets is held against it; what the artist drew into the workflow is the operator's choice.
"""

from collections.abc import Iterator, Mapping

from orchestrator.callers.caller import Limits
from orchestrator.errors import FieldError, InvalidParameters
from orchestrator.images.picture import Picture
from orchestrator.widgets.definition import Binding
from orchestrator.widgets.values import Values
from orchestrator.widgets.widget import Widget


def require_steps_and_canvas(widget: Widget, values: Values, limits: Limits) -> None:
    """Raises InvalidParameters naming each parameter that sets more steps, or a larger canvas, than is allowed."""
    complaints = list(_too_many_steps(widget, values, limits.steps)) if limits.steps is not None else []
    if limits.megapixels is not None:
        complaints.extend(_too_large_canvases(widget, values, limits.megapixels))
    if complaints:
        raise InvalidParameters(None, complaints)


def require_sizes(pictures: Mapping[str, Picture], limits: Limits) -> None:
    """Raises InvalidParameters naming each picture (not mask) that is larger than is allowed."""
    if limits.megapixels is None:
        return
    complaints = [
        FieldError(name, _too_large(picture.width, picture.height, limits.megapixels))
        for name, picture in pictures.items()
        if picture.width * picture.height > limits.megapixels * 1e6
    ]
    if complaints:
        raise InvalidParameters(None, complaints)


def _too_many_steps(widget: Widget, values: Values, most: int) -> Iterator[FieldError]:
    names = {binding.parameter for binding in _numbers(widget) if binding.input == "steps"}
    for name in sorted(names & set(values)):
        steps = values.settled[name]
        if isinstance(steps, int) and steps > most:
            yield FieldError(name, f"is {steps}, and this API key may ask for {most}")


def _too_large_canvases(widget: Widget, values: Values, megapixels: float) -> Iterator[FieldError]:
    """A canvas is a node of which the caller sets the width, the height, or both; the other side is as it was drawn."""
    canvases: dict[str, dict[str, str]] = {}
    for binding in _numbers(widget):
        if binding.input in ("width", "height") and binding.parameter in values:
            canvases.setdefault(binding.node, {})[binding.input] = binding.parameter
    for node, names in canvases.items():
        drawn = widget.graph.nodes[widget.nodes[node]].inputs
        width, height = (
            values.settled[names[side]] if side in names else drawn.get(side) for side in ("width", "height")
        )
        if isinstance(width, int) and isinstance(height, int) and width * height > megapixels * 1e6:
            for name in names.values():
                yield FieldError(name, _too_large(width, height, megapixels))


def _numbers(widget: Widget) -> Iterator[Binding]:
    """The bindings that carry a number as the caller gave it."""
    return (binding for binding in widget.definition.bindings if binding.form == "value" and binding.choices is None)


def _too_large(width: int, height: int, megapixels: float) -> str:
    return f"{width} x {height} is more than the {megapixels:g} megapixels that this API key may ask for"
