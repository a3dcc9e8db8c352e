"""Saved workflows in a few words, for the tests of this folder."""

from typing import Any

from orchestrator.comfy.catalog import Catalog
from orchestrator.comfy.known import core_object_info
from orchestrator.widgets.conversion import convert

CATALOG = Catalog.from_object_info(core_object_info())


def node(id_: int, kind: str, values: object = None, **more: Any) -> dict[str, Any]:
    return {"id": id_, "type": kind, "mode": 0, "inputs": [], "outputs": [], "widgets_values": values or [], **more}


def socket(name: str, link: int | None, kind: str = "*", field: str | None = None) -> dict[str, Any]:
    return {"name": name, "type": kind, "link": link} | ({"widget": {"name": field}} if field else {})


def workflow(*nodes: dict[str, Any], links: list[list[Any]] = [], **more: Any) -> dict[str, Any]:  # noqa: B006
    return {"version": 0.4, "nodes": list(nodes), "links": links, **more}


def inputs(drawn: dict[str, Any], catalog: Catalog = CATALOG) -> dict[str, Any]:
    """Node id → what it is given, of the graph that a workflow runs as."""
    api: dict[str, Any] = convert(drawn, catalog).to_api()
    return {id_: made["inputs"] for id_, made in api.items()}


def subgraph(id_: str, nodes: list[dict[str, Any]], links: list[list[Any]], **more: Any) -> dict[str, Any]:
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
    named = [dict(zip(keys, link, strict=True)) for link in links]
    return {"id": id_, "name": id_, "nodes": nodes, "links": named, "inputs": [], "outputs": [], **more}


def port(name: str, *links: int) -> dict[str, Any]:
    return {"name": name, "type": "*", "linkIds": list(links)}
