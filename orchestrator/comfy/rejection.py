"""Why a backend's validation refused a graph, in words for whoever drew it. Pure.

Reads the body of a 400 that `POST /prompt` answers; knows nothing of how it was fetched.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orchestrator.comfy.execution import node_name
from orchestrator.comfy.graph import Graph, Link

_LONGEST_TEXT = 2000
_NODE_ID = re.compile(r"#([^'\s]+)")


@dataclass(frozen=True)
class Complaint:
    """One thing that is wrong with one node; `input` is empty when it concerns the node as a whole."""

    node: str
    class_type: str
    input: str
    message: str
    details: str
    linked_node: str


def explain(graph: Graph, answer: object) -> str:
    """Every complaint with node title and input, `"Sampler" (KSamplerAdvanced): input steps: Value 0 smaller …`."""
    found = [_sentence(graph, complaint) for complaint in complaints(answer)]
    return ("; ".join(found) or _general(graph, answer))[:_LONGEST_TEXT]


def names_file(answer: object, names: frozenset[str]) -> bool:
    """True when a complaint is about one of these file names: the backend no longer has a picture that it was sent."""
    return any(name in complaint.details for complaint in complaints(answer) for name in names)


def complaints(answer: object) -> list[Complaint]:
    """The `node_errors` of a decoded answer; what cannot be read is left out."""
    nodes = answer.get("node_errors") if isinstance(answer, Mapping) else None
    if not isinstance(nodes, Mapping):
        return []
    return [complaint for node_id, node in nodes.items() for complaint in _of_node(str(node_id), node)]


def _of_node(node_id: str, value: object) -> Iterator[Complaint]:
    errors = value.get("errors") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(errors, list):
        return
    for error in errors:
        if isinstance(error, Mapping):
            extra = error.get("extra_info")
            extra = extra if isinstance(extra, Mapping) else {}
            linked = extra.get("linked_node")
            yield Complaint(
                node=node_id,
                class_type=str(value.get("class_type") or ""),
                input=str(extra.get("input_name") or ""),
                message=str(error.get("message") or error.get("type") or "refused"),
                details=str(error.get("details") or ""),
                linked_node=str(linked[0]) if isinstance(linked, list) and linked else "",
            )


def _sentence(graph: Graph, complaint: Complaint) -> str:
    node, wanted = complaint.node, complaint.input
    if wanted and complaint.linked_node == node:
        # The fault is in this node's own inputs; the input named is the one of the node behind that asked for it.
        node, wanted = _asker(graph, node, wanted), f"{wanted}, linked to {_name(graph, complaint)}"
        text = node_name(graph, node, complaint.class_type) if node else _name(graph, complaint)
    else:
        text = _name(graph, complaint)
    if wanted:
        text += f": input {wanted}"
    details = re.sub(rf"^{re.escape(complaint.input)}(: | - |, |$)", "", complaint.details)
    return f"{text}: {complaint.message}" + (f" ({details.strip()})" if details.strip() else "")


def _name(graph: Graph, complaint: Complaint) -> str:
    return node_name(graph, complaint.node, complaint.class_type)


def _asker(graph: Graph, node_id: str, wanted: str) -> str:
    for asker_id, asker in graph.nodes.items():
        link = asker.inputs.get(wanted)
        if isinstance(link, Link) and link.node == node_id:
            return asker_id
    return ""


def _general(graph: Graph, answer: object) -> str:
    error = answer.get("error") if isinstance(answer, Mapping) else None
    if not isinstance(error, Mapping):
        return str(error) if error else "The backend refused the graph without a reason"
    message, details = str(error.get("message") or ""), str(error.get("details") or "")
    named = _NODE_ID.search(details)
    if named and named.group(1) in graph.nodes:
        return f"{node_name(graph, named.group(1), '')}: {message}"
    return message if details in ("", message) else f"{message} ({details})"
