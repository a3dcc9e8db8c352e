"""The workflows of a folder as the editor's templates, so that a first visit has something to open.

Reads `<name>/workflow.json` anew each time. A template's small picture is its drawing seen from afar: boxes and wires.
Knows the folder and the editor's form of an index, no HTTP.
"""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageColor, ImageDraw

_FILE = "workflow.json"
_SIZE = (480, 300)
_MARGIN = 24
_BACKGROUND = "#1e1e22"
_NODE = "#4a4a52"
_WIRE = "#8d8d99"
_TITLE_BAR = 30.0
"""How far a node's title rises above its place, in the drawing's units."""
_MOST_NODES = 2000


class Templates:
    """The workflows in `folder`; none if it is None."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def index(self) -> list[dict[str, Any]]:
        """The editor's list of templates: one group, a template for each workflow."""
        templates = [
            {
                "name": name,
                "title": name.replace("-", " ").replace("_", " ").capitalize(),
                "description": f"workflows/{name}",
                "mediaType": "image",
                "mediaSubtype": "png",
            }
            for name in sorted(self._files())
        ]
        group = {"moduleName": "default", "title": "Widgets of this service", "type": "image", "templates": templates}
        return [group]

    def file(self, name: str) -> Path | None:
        """The workflow of that name, None if there is none."""
        return self._files().get(name)

    def thumbnail(self, name: str) -> bytes | None:
        """A PNG of the drawing from afar, None if there is no such workflow or it cannot be read."""
        file = self.file(name)
        try:
            return drawn(json.loads(file.read_text("utf-8"))) if file is not None else None
        except (OSError, ValueError, RecursionError):
            return None

    def _files(self) -> dict[str, Path]:
        if self._folder is None:
            return {}
        return {file.parent.name: file for file in self._folder.glob(f"*/{_FILE}") if file.is_file()}


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    width: float
    height: float
    colour: str


def drawn(workflow: object) -> bytes:
    """A PNG, 480 by 300, of a saved workflow: a box for each node in its own colour, a wire for each link."""
    picture = Image.new("RGB", _SIZE, _BACKGROUND)
    boxes = dict(_boxes(workflow))
    if boxes:
        left, top = min(box.left for box in boxes.values()), min(box.top for box in boxes.values())
        width = max(box.left + box.width for box in boxes.values()) - left
        height = max(box.top + box.height for box in boxes.values()) - top
        scale = min((_SIZE[0] - 2 * _MARGIN) / max(width, 1.0), (_SIZE[1] - 2 * _MARGIN) / max(height, 1.0))
        across, down = (_SIZE[0] - width * scale) / 2, (_SIZE[1] - height * scale) / 2

        def at(x: float, y: float) -> tuple[float, float]:
            return across + (x - left) * scale, down + (y - top) * scale

        pen = ImageDraw.Draw(picture)
        for start, end in _wires(workflow):
            if start in boxes and end in boxes:
                source, target = boxes[start], boxes[end]
                line = at(source.left + source.width, source.top + source.height / 2)
                pen.line((line, at(target.left, target.top + target.height / 2)), fill=_WIRE, width=1)
        for box in boxes.values():
            corners = (at(box.left, box.top), at(box.left + box.width, box.top + box.height))
            pen.rounded_rectangle(corners, radius=2, fill=box.colour)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _boxes(workflow: object) -> Iterator[tuple[str, _Box]]:
    nodes = workflow.get("nodes") if isinstance(workflow, Mapping) else None
    for node in (nodes if isinstance(nodes, list) else [])[:_MOST_NODES]:
        if not isinstance(node, Mapping):
            continue
        place, size = _pair(node.get("pos")), _pair(node.get("size"))
        if place is not None and size is not None:
            height = max(size[1], 1.0) + _TITLE_BAR
            yield str(node.get("id")), _Box(*place, max(size[0], 1.0), height, _colour(node.get("bgcolor")))


def _pair(said: object) -> tuple[float, float] | None:
    """Two numbers, as the editor writes them: a list, or an object with "0" and "1"."""
    first, second = (said.get("0"), said.get("1")) if isinstance(said, Mapping) else (None, None)
    if isinstance(said, list) and len(said) >= 2:
        first, second = said[:2]
    if not isinstance(first, int | float) or not isinstance(second, int | float):
        return None
    return (float(first), float(second)) if abs(first) < 1e6 and abs(second) < 1e6 else None


def _colour(said: object) -> str:
    try:
        ImageColor.getrgb(str(said))
    except ValueError:
        return _NODE
    return str(said)


def _wires(workflow: object) -> Iterator[tuple[str, str]]:
    links = workflow.get("links") if isinstance(workflow, Mapping) else None
    for link in links if isinstance(links, list) else []:
        if isinstance(link, list) and len(link) >= 4:
            yield str(link[1]), str(link[3])
        elif isinstance(link, Mapping):
            yield str(link.get("origin_id")), str(link.get("target_id"))
