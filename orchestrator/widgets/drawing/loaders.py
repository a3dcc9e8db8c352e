"""LoRA loaders that a job adds, drawn to the right of the artist's own; what stood there makes room. Pure.

Nothing overlaps that did not before: all that begins right of the loader moves by the same way, and frames that reach
over the gap grow.
"""

import copy
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from orchestrator.widgets.drawing.sheet import Json, Sheet

_GAP = 30
"""Pixels between two loaders."""
_WIDTH = 270


def add_loaders(
    sheet: Sheet, path: tuple[str, ...], drawn: str, new: Mapping[str, str], passage: Mapping[int, str]
) -> None:
    """Puts loaders (`new`: id → title) behind the one with the id `drawn`, each fed by the one before it.

    `passage` says for each output which input it passes on. What the drawn loader fed is fed by the last.
    """
    loader = sheet.node(path, drawn)
    width = _number(loader.get("size"), 0, _WIDTH)
    left, top = _number(loader.get("pos"), 0), _number(loader.get("pos"), 1)
    _make_room(sheet, sheet.canvas(path), left + width, len(new) * (width + _GAP))
    chain = [loader]
    for number, (id_, title) in enumerate(new.items(), start=1):
        made = _alike(loader, id_, title)
        _put(made, "pos", left + number * (width + _GAP), top)
        sheet.add_node(path, made, drawn)
        chain.append(made)
    for slot in passage:
        sheet.move_links(path, loader, slot, chain[-1])
    for before, after in pairwise(chain):
        for slot, name in passage.items():
            sheet.link(path, before, slot, after, name)


def _alike(loader: Json, id_: str, title: str) -> Json:
    made = copy.deepcopy(loader)
    made["id"], made["title"] = int(id_), title
    for socket in made.get("inputs") or ():
        socket["link"] = None
    for output in made.get("outputs") or ():
        output["links"] = []
    return made


def _make_room(sheet: Sheet, canvas: Json, right: float, by: float) -> None:
    """Moves all that begins at `right` or beyond; frames that reach over it grow."""
    if not by:
        return
    for node in canvas["nodes"]:
        _move(node, "pos", right, by)
    extra = canvas.get("extra")
    bends = [*(canvas.get("reroutes") or ()), *((extra.get("reroutes") or ()) if isinstance(extra, dict) else ())]
    for bend in bends:
        _move(bend, "pos", right, by)
    for name in ("inputNode", "outputNode"):
        if isinstance(canvas.get(name), dict):
            _move(canvas[name], "bounding", right, by)
    for frame in canvas.get("groups") or ():
        x, width = _number(frame.get("bounding"), 0), _number(frame.get("bounding"), 2)
        if x < right < x + width:
            frame["bounding"][2] = width + by
        else:
            _move(frame, "bounding", right, by)


def _move(thing: Any, name: str, right: float, by: float) -> None:
    at = thing.get(name) if isinstance(thing, dict) else None
    if at is not None and _number(at, 0) >= right:
        _put(thing, name, _number(at, 0) + by, _number(at, 1))


def _number(pair: Any, at: int, default: float = 0) -> float:
    """A coordinate, of a list or of an object as some versions of the editor write it."""
    if isinstance(pair, dict):
        pair = [pair.get(str(place)) for place in range(4)]
    found = pair[at] if isinstance(pair, list) and at < len(pair) else None
    return found if isinstance(found, int | float) else default


def _put(thing: Json, name: str, x: float, y: float) -> None:
    rest = [_number(thing.get(name), at) for at in (2, 3)] if name == "bounding" else []
    thing[name] = [x, y, *rest]
