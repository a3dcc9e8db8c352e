"""What the editor does to texts as it sends them: comments, alternatives `{a|b}`, names of other nodes' fields. Pure.

The editor draws one of the alternatives at random; here the first one stands, so that one workflow gives one graph.
A date in a file name is left to ComfyUI, which fills it in when the file is written.
"""

import re
from collections.abc import Callable, Iterable

from orchestrator.widgets.conversion import javascript
from orchestrator.widgets.conversion.fields import ABSENT
from orchestrator.widgets.conversion.nodes import DrawnNode

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n\r\u2028\u2029]*", re.DOTALL)
_NAME = re.compile(r"%([^%]+)%")
_NOT_IN_FILE_NAMES = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')


def prompt(text: str) -> str:
    """A prompt as it is sent: no comments, the first of each `{a|b}`, `\\{` for a brace that is meant."""
    chosen = _first_alternatives(_COMMENT.sub("", text))
    return re.sub(r"\\([{}|])", r"\1", chosen)


def _first_alternatives(text: str) -> str:
    result: list[str] = []
    depth, skipped_from = 0, 0
    place = 0
    while place < len(text):
        character = text[place]
        length = 2 if character == "\\" else 1
        if character == "{":
            depth += 1
        elif character == "}" and depth:
            skipped_from = 0 if skipped_from == depth else skipped_from
            depth -= 1
        elif character == "|" and depth and not skipped_from:
            skipped_from = depth
        elif not skipped_from:
            result.append(text[place : place + length])
        place += length
    return "".join(result)


def with_names(text: str, nodes: Iterable[DrawnNode]) -> str:
    """`%Node.field%` replaced by what that field holds, for a node of that alias or else of that title."""
    listed = list(nodes)
    return _NAME.sub(lambda match: _named(match, listed), text)


def _named(match: re.Match[str], nodes: list[DrawnNode]) -> str:
    name, _, field = match[1].partition(".")
    if not field or "." in field:
        return match[0]
    tests: tuple[Callable[[DrawnNode], bool], ...] = (
        lambda node: node.saved.alias == name,
        lambda node: node.title == name,
    )
    for test in tests:
        node = next((node for node in nodes if test(node)), None)
        if node is not None:
            if field not in node.values:
                return match[0]
            value = node.values[field]
            return "" if value is None or value is ABSENT else _NOT_IN_FILE_NAMES.sub("_", javascript.text(value))
    return match[0]
