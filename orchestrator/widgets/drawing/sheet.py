"""A saved workflow's JSON while it is changed: nodes by canvas and id, values, links, modes. Pure.

Handles both forms in which links and values are saved. A subgraph that stands in several places gets a copy of its own
where it is changed in one. What the changes are for is not known here.
"""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

from orchestrator.widgets.conversion.nodes import CONTROLS
from orchestrator.widgets.conversion.saved import id_text

if TYPE_CHECKING:
    from orchestrator.widgets.drawing.places import Path, Place

Json = dict[str, Any]


class Sheet:
    """One workflow, to be changed; `rows` are a template's. `together`: in all places where a subgraph stands."""

    def __init__(
        self, text: str, rows: "Mapping[tuple[Path, str], tuple[str, ...]]", *, together: bool = False
    ) -> None:
        self.workflow: Json = json.loads(text)
        self._together = together
        self._rows = dict(rows)
        self._indices: dict[int, dict[str, Json]] = {}
        self._private: dict[Path, Json] = {(): self.workflow}

    @property
    def last_id(self) -> int:
        """The largest number that any node has, or had: the editor counts on."""
        counts = [self.workflow.get("last_node_id"), (self.workflow.get("state") or {}).get("lastNodeId")]
        ids = [id_text(node.get("id")) for canvas in self._canvases() for node in _objects(canvas.get("nodes"))]
        numbers = [int(id_) for id_ in ids if id_ is not None and id_.isdecimal()]
        return max([0, *numbers, *(count for count in counts if isinstance(count, int))])

    def canvas(self, path: "Path") -> Json:
        """The canvas that these subgraph nodes lead to, for this path alone."""
        if path not in self._private:
            node = self.node(path[:-1], path[-1])
            definition = self._definitions()[str(node["type"])]
            if not self._together and self._uses(str(node["type"])) > 1:
                definition = self._copied(definition, path)
                node["type"] = definition["id"]
            self._private[path] = definition
        return self._private[path]

    def node(self, path: "Path", id_: str) -> Json:
        """A node of that canvas. KeyError if there is none."""
        canvas = self.canvas(path)
        index = self._indices.get(id(canvas))
        if index is None:
            index = {str(id_text(node.get("id"))): node for node in _objects(canvas.get("nodes"))}
            self._indices[id(canvas)] = index
        return index[id_]

    def set_mode(self, path: "Path", id_: str, mode: int) -> None:
        """Mutes or bypasses a node."""
        self.node(path, id_)["mode"] = mode

    def value(self, place: "Place") -> object:
        """What a field holds; None where it was not saved."""
        values = self.node(place.path, place.node).get("widgets_values")
        if isinstance(values, dict):
            return values.get(place.field)
        at = self._at(place)
        return values[at] if isinstance(values, list) and at < len(values) else None

    def write(self, place: "Place", value: object) -> None:
        """Puts a value into a field, or into a primitive node."""
        node = self.node(place.path, place.node)
        values = node.get("widgets_values")
        if isinstance(values, dict) and place.field is not None:
            values[place.field] = value
            return
        listed = values if isinstance(values, list) else []
        at = self._at(place)
        listed += [None] * (at + 1 - len(listed))
        listed[at] = value
        node["widgets_values"] = listed

    def write_all(self, path: "Path", id_: str, values: Mapping[str, object], *, by_name: bool) -> None:
        """Puts a value into each field of a node; `by_name`: as it was saved, if that was by name, else as a list."""
        node = self.node(path, id_)
        row = self._rows[path, id_]
        if by_name and isinstance(node.get("widgets_values"), dict):
            node["widgets_values"] |= {name: values[name] for name in row if name in node["widgets_values"]}
        else:
            node["widgets_values"] = [values[name] for name in row]

    def fix_primitive(self, path: "Path", id_: str) -> None:
        """Has a primitive node keep its value after a run."""
        values = self.node(path, id_).get("widgets_values")
        if isinstance(values, list) and len(values) > 1 and values[1] in CONTROLS:
            values[1] = "fixed"

    def add_node(self, path: "Path", node: Json, like: str) -> None:
        """Puts a node on a canvas; its fields are those of the node `like`."""
        canvas = self.canvas(path)
        id_ = str(id_text(node["id"]))
        self.node(path, like)
        canvas["nodes"].append(node)
        self._indices[id(canvas)][id_] = node
        self._rows[path, id_] = self._rows[path, like]
        _count_up(self.workflow, "last_node_id", int(node["id"]))
        _count_up(self.workflow.get("state"), "lastNodeId", int(node["id"]))

    def cut(self, path: "Path", id_: str, name: str) -> None:
        """Takes away the link that fills an input.

        If it was the last from a subgraph's input to a field, the subgraph's node shows that field no longer.
        """
        canvas, node = self.canvas(path), self.node(path, id_)
        socket = next((item for item in _objects(node.get("inputs")) if item.get("name") == name), None)
        if socket is None or socket.get("link") is None:
            return
        link, socket["link"] = socket["link"], None
        canvas["links"] = [item for item in canvas["links"] if _link_id(item) != link]
        for port in _objects(canvas.get("inputs")):
            if isinstance(port.get("linkIds"), list) and link in port["linkIds"]:
                port["linkIds"] = [other for other in port["linkIds"] if other != link]
                if not self._leads_to_a_field(path, port):
                    self._hide(path[:-1], path[-1], str(port.get("name")))
        for other in _objects(canvas.get("nodes")):
            for output in _objects(other.get("outputs")):
                if link in (output.get("links") or ()):
                    output["links"] = [item for item in output["links"] if item != link]

    def _leads_to_a_field(self, path: "Path", port: Json) -> bool:
        for node in _objects(self.canvas(path).get("nodes")):
            row = self._rows.get((path, str(id_text(node.get("id")))), ())
            for socket in _objects(node.get("inputs")):
                field = (socket.get("widget") or {}).get("name", socket.get("name"))
                if socket.get("link") in port["linkIds"] and socket.get("link") is not None and field in row:
                    return True
        return False

    def _hide(self, path: "Path", id_: str, name: str) -> None:
        """Takes a field off a subgraph's node, as the editor will: the values of those after it move up."""
        node, row = self.node(path, id_), self._rows[path, id_]
        if name not in row:
            return
        values = node.get("widgets_values")
        if isinstance(values, dict):
            values.pop(name, None)
        elif isinstance(values, list):
            del values[row.index(name) : row.index(name) + 1]
        self._rows[path, id_] = tuple(field for field in row if field != name)
        self.cut(path, id_, name)
        for socket in _objects(node.get("inputs")):
            if socket.get("name") == name:
                socket.pop("widget", None)

    def link(self, path: "Path", source: Json, slot: int, target: Json, name: str) -> None:
        """Draws a link from an output to an input that has none."""
        id_ = self._draw(self.canvas(path), (source["id"], slot), target, name)
        for output in _objects(source.get("outputs"))[slot : slot + 1]:
            output["links"] = [*(output.get("links") or ()), id_]

    def link_alike(self, path: "Path", like: str, id_: str, name: str) -> None:
        """Draws to an input what feeds the input of that name of another node."""
        canvas = self.canvas(path)
        socket = next(item for item in _objects(self.node(path, like).get("inputs")) if item.get("name") == name)
        fed = next(link for link in canvas["links"] if _link_id(link) == socket["link"])
        origin = (fed["origin_id"], fed["origin_slot"]) if isinstance(fed, dict) else tuple(fed[1:3])
        drawn = self._draw(canvas, origin, self.node(path, id_), name)
        for other in _objects(canvas.get("nodes")):
            for output in _objects(other.get("outputs")):
                if socket["link"] in (output.get("links") or ()):
                    output["links"] = [*output["links"], drawn]
        for port in _objects(canvas.get("inputs")):
            if socket["link"] in (port.get("linkIds") or ()):
                port["linkIds"] = [*port["linkIds"], drawn]

    def _draw(self, canvas: Json, origin: tuple[Any, ...], target: Json, name: str) -> int:
        known = (_link_id(link) for canvas in self._canvases() for link in canvas.get("links") or ())
        counts = (self.workflow.get("last_link_id"), (self.workflow.get("state") or {}).get("lastLinkId"))
        id_ = max(0, *known, *(count for count in counts if isinstance(count, int))) + 1
        at = next(at for at, item in enumerate(target["inputs"]) if item.get("name") == name)
        target["inputs"][at]["link"] = id_
        ends = (*origin, target["id"], at, target["inputs"][at].get("type", "*"))
        if canvas is self.workflow and not any(isinstance(link, dict) for link in canvas["links"]):
            canvas["links"].append([id_, *ends])
        else:
            keys = ("origin_id", "origin_slot", "target_id", "target_slot", "type")
            canvas["links"].append({"id": id_, **dict(zip(keys, ends, strict=True))})
        _count_up(self.workflow, "last_link_id", id_)
        _count_up(self.workflow.get("state"), "lastLinkId", id_)
        return id_

    def move_links(self, path: "Path", source: Json, slot: int, other: Json) -> None:
        """Has everything that output `slot` of one node feeds be fed by the same output of another."""
        canvas = self.canvas(path)
        for link in canvas["links"]:
            if link and _origin(link) == (id_text(source["id"]), slot):
                link["origin_id" if isinstance(link, dict) else 1] = other["id"]
        pairs = zip(_objects(source.get("outputs")), _objects(other.get("outputs")), strict=True)
        for mine, theirs in list(pairs)[slot : slot + 1]:
            mine["links"], theirs["links"] = [], list(mine.get("links") or ())

    def _at(self, place: "Place") -> int:
        return 0 if place.field is None else self._rows[place.path, place.node].index(place.field)

    def _canvases(self) -> Iterator[Json]:
        yield self.workflow
        yield from self._definitions().values()

    def _definitions(self) -> dict[str, Json]:
        """Subgraphs by id, those too that were saved inside one another."""
        found: dict[str, Json] = {}
        waiting = [self.workflow]
        while waiting:
            for definition in _objects((waiting.pop().get("definitions") or {}).get("subgraphs")):
                found[str(definition["id"])] = definition
                waiting.append(definition)
        return found

    def _uses(self, subgraph: str) -> int:
        return sum(node.get("type") == subgraph for canvas in self._canvases() for node in _objects(canvas["nodes"]))

    def _copied(self, definition: Json, path: "Path") -> Json:
        """A copy of a subgraph beside it: the editor wants what lies in another one defined before that."""
        copied: Json = json.loads(json.dumps(definition))
        copied["id"] = str(uuid5(NAMESPACE_OID, ":".join((str(definition["id"]), *path))))
        copied.pop("definitions", None)
        for holder in (self.workflow, *self._definitions().values()):
            beside: list[Any] = (holder.get("definitions") or {}).get("subgraphs") or []
            at = next((at for at, item in enumerate(beside) if item is definition), None)
            if at is not None:
                beside.insert(at + 1, copied)
        return copied


def _objects(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _link_id(link: Any) -> int:
    return int((link.get("id") if isinstance(link, dict) else link[0]) or 0) if link else 0


def _origin(link: Any) -> tuple[str | None, int]:
    origin, slot = (link["origin_id"], link["origin_slot"]) if isinstance(link, dict) else link[1:3]
    return id_text(origin), int(slot)


def _count_up(holder: object, name: str, count: int) -> None:
    if isinstance(holder, dict) and name in holder:
        holder[name] = max(int(holder[name] or 0), count)
