"""How a value is written into a field of the editor so that just this value is sent when it runs. Pure."""

import re

from orchestrator.comfy.graph import Input
from orchestrator.widgets.conversion import texts
from orchestrator.widgets.conversion.fields import Field
from orchestrator.widgets.conversion.primitive import Shared

_LARGEST_EXACT = 2**53
"""JavaScript's numbers above it have gaps."""


def literal(field: Field, value: object, *, as_it_is: bool = False) -> object:
    """What the field has to hold.

    A text in which the editor would choose among `{a|b}` and drop comments has them escaped. A whole number that
    JavaScript cannot hold is written as text, of which ComfyUI makes the number again. `as_it_is`: where the editor
    sends texts as they are.
    """
    if isinstance(value, str) and field.has_alternatives and not as_it_is:
        return _escaped(value)
    if type(value) is int and abs(value) > _LARGEST_EXACT:
        return str(value)
    return value


def means(sent: Input, value: Input) -> bool:
    """True if ComfyUI makes the same of what is sent as of `value`."""
    if isinstance(sent, bool) != isinstance(value, bool):
        return False
    return sent == value or (type(value) is int and abs(value) > _LARGEST_EXACT and sent == str(value))


def can_be_copied(primitive: Shared, field: Field, value: object) -> bool:
    """True if a primitive node holds this value and hands it on to the field unchanged."""
    held = primitive.hold(value)
    return all(type(made) in (type(value), int, float) and made == value for made in (held, field.settle(held)))


def _escaped(text: str) -> str:
    if texts.prompt(text) == text and "|" not in text:
        return text
    # `{}` is an empty choice: nothing, put where two signs would begin a comment.
    return re.sub(r"/(?=[/*])", "/{}", re.sub(r"([{}|])", r"\\\1", text))
