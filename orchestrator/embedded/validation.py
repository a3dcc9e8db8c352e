"""Checks a graph before it is queued and complains in ComfyUI's words and form. Runs no node."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from orchestrator.embedded.catalogue import Catalogue, InputSpec, NodeClass
from orchestrator.embedded.foreign import Failed, attempt

Complaint: TypeAlias = dict[str, Any]

_CONVERSIONS: dict[str, Callable[[Any], Any]] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}
_LONG_LIST = 20


@dataclass(frozen=True)
class Verdict:
    """What `POST /prompt` says: the outputs that may run, or the error, and what is wrong with which node."""

    outputs: tuple[str, ...]
    error: Complaint | None = None
    node_errors: Mapping[str, Any] = field(default_factory=dict)


def complaint(kind: str, message: str, details: str = "", **extra: Any) -> Complaint:
    """One error in ComfyUI's form."""
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


class _Broken(Exception):
    """The graph itself is broken at a node: a link to nowhere, or in a circle."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(text)


def _matches(given: Any, wanted: Any) -> bool:
    """Whether an output of type `given` may feed an input of type `wanted`; both may list several, by commas."""
    if given == wanted or "*" in (given, wanted):
        return True
    if not isinstance(given, str) or not isinstance(wanted, str):
        return False
    return bool({name.strip() for name in given.split(",")} & {name.strip() for name in wanted.split(",")})


def _range_complaint(spec: InputSpec, value: Any) -> Complaint | None:
    facts = {"input_name": spec.name, "input_config": spec.config, "received_value": value}
    options = spec.options
    if "min" in options and value < options["min"]:
        text = f"Value {value} smaller than min of {options['min']}"
        return complaint("value_smaller_than_min", text, spec.name, **facts)
    if "max" in options and value > options["max"]:
        text = f"Value {value} bigger than max of {options['max']}"
        return complaint("value_bigger_than_max", text, spec.name, **facts)
    if isinstance(spec.kind, list) and value not in spec.kind:
        long = len(spec.kind) > _LONG_LIST
        choices = f"(list of length {len(spec.kind)})" if long else str(spec.kind)
        if long:
            facts["input_config"] = None
        return complaint("value_not_in_list", "Value not in list", f"{spec.name}: '{value}' not in {choices}", **facts)
    return None


class _Check:
    """One pass over a graph; each node is judged once."""

    def __init__(self, graph: dict[str, Any], catalogue: Catalogue) -> None:
        self._graph = graph
        self._catalogue = catalogue
        self._judged: dict[str, tuple[bool, list[Complaint]]] = {}
        self._open: set[str] = set()

    def output(self, node_id: str) -> tuple[bool, list[Complaint]]:
        try:
            return self._node(node_id)
        except _Broken as error:
            facts = {"exception_type": error.kind, "traceback": []}
            found = complaint("exception_during_validation", "Exception when validating node", str(error), **facts)
            self._judged[node_id] = (False, [found])
            return self._judged[node_id]

    def faults(self) -> dict[str, list[Complaint]]:
        return {node_id: errors for node_id, (good, errors) in self._judged.items() if not good and errors}

    def _node(self, node_id: str) -> tuple[bool, list[Complaint]]:
        if node_id in self._judged:
            return self._judged[node_id]
        if node_id in self._open:
            raise _Broken("graph.DependencyCycleError", "Dependency cycle detected")
        self._open.add(node_id)
        kind = self._catalogue[self._graph[node_id]["class_type"]]
        inputs = self._graph[node_id]["inputs"]
        errors: list[Complaint] = []
        upstream = True
        try:
            for spec in kind.inputs():
                if spec.category != "hidden":
                    upstream &= self._input(kind, spec, inputs, errors)
        finally:
            self._open.discard(node_id)
        errors += self._custom(kind, inputs)
        return self._judged.setdefault(node_id, (upstream and not errors, errors))  # a circle has been judged below

    def _input(self, kind: NodeClass, spec: InputSpec, inputs: dict[str, Any], errors: list[Complaint]) -> bool:
        """Adds complaints about one input to `errors`; False when something upstream of it is wrong."""
        if spec.name not in inputs:
            if spec.category == "required":
                text = "Required input is missing"
                errors.append(complaint("required_input_missing", text, spec.name, input_name=spec.name))
            return True
        if isinstance(inputs[spec.name], list):
            return self._link(spec, inputs[spec.name], errors)
        found = self._constant(kind, spec, inputs)
        if found:
            errors.append(found)
        return True

    def _link(self, spec: InputSpec, link: list[Any], errors: list[Complaint]) -> bool:
        if len(link) != 2:
            text = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            facts = {"input_name": spec.name, "input_config": spec.config, "received_value": link}
            errors.append(complaint("bad_linked_input", text, spec.name, **facts))
            return True
        source, slot = link
        if not isinstance(source, str) or source not in self._graph:
            raise _Broken("KeyError", repr(source))
        outputs = self._catalogue[self._graph[source]["class_type"]].outputs
        if not isinstance(slot, int) or not 0 <= slot < len(outputs):
            raise _Broken("IndexError", "tuple index out of range")
        if not _matches(outputs[slot], spec.kind):
            details = f"{spec.name}, received_type({outputs[slot]}) mismatch input_type({spec.kind})"
            facts = {"input_name": spec.name, "input_config": spec.config, "received_type": outputs[slot]}
            text = "Return type mismatch between linked nodes"
            errors.append(complaint("return_type_mismatch", text, details, **facts, linked_node=link))
            return True
        return self._upstream(spec, link)

    def _upstream(self, spec: InputSpec, link: list[Any]) -> bool:
        try:
            return self._node(link[0])[0]
        except _Broken as error:
            facts = {
                "input_name": spec.name,
                "input_config": spec.config,
                "exception_message": str(error),
                "exception_type": error.kind,
                "traceback": [],
                "linked_node": link,
            }
            text = "Exception when validating inner node"
            found = complaint("exception_during_inner_validation", text, str(error), **facts)
            self._judged[link[0]] = (False, [found])
            return False

    def _constant(self, kind: NodeClass, spec: InputSpec, inputs: dict[str, Any]) -> Complaint | None:
        """Converts the value in place to the input's type, then checks its range."""
        value = inputs[spec.name]
        if isinstance(value, dict) and "__value__" in value:
            value = inputs[spec.name] = value["__value__"]
        convert = _CONVERSIONS.get(spec.kind) if isinstance(spec.kind, str) else None
        try:
            if convert:
                value = inputs[spec.name] = convert(value)
            return None if spec.name in kind.checked else _range_complaint(spec, value)
        except (TypeError, ValueError, OverflowError) as error:
            text = f"Failed to convert an input value to a {spec.kind} value"
            facts = {"input_name": spec.name, "input_config": spec.config, "received_value": value}
            details = f"{spec.name}, {value}, {error}"
            return complaint("invalid_input_type", text, details, **facts, exception_message=str(error))

    def _custom(self, kind: NodeClass, inputs: Mapping[str, Any]) -> list[Complaint]:
        """What the class's own check says, about each input that it looks at."""
        names = [spec.name for spec in kind.inputs() if spec.name in kind.checked and spec.name in inputs]
        if kind.check is None or not names:
            return []
        given = {name: None if isinstance(inputs[name], list) else inputs[name] for name in names}
        answer = attempt(kind.check, **given)
        if answer is True:
            return []
        said = answer.text if isinstance(answer, Failed) else answer
        text = "Custom validation failed for node"
        return [
            complaint("custom_validation_failed", text, name if said is False else f"{name} - {said}", input_name=name)
            for name in names
        ]


def _malformed(graph: Any, catalogue: Catalogue) -> Complaint | None:
    if not isinstance(graph, dict):
        return complaint("invalid_prompt", "The prompt is not an object of nodes.")
    for node_id, node in graph.items():
        where = f"Node ID '#{node_id}'"
        if not isinstance(node, dict) or "class_type" not in node:
            text = "Cannot execute because a node is missing the class_type property."
            return complaint("invalid_prompt", text, where)
        if node["class_type"] not in catalogue:
            return complaint(
                "invalid_prompt", f"Cannot execute because node {node['class_type']} does not exist.", where
            )
        if not isinstance(node.setdefault("inputs", {}), dict):
            return complaint("invalid_prompt", "Cannot execute because a node's inputs are not an object.", where)
    return None


def validate(graph: Any, catalogue: Catalogue) -> Verdict:
    """Judges a graph in API format; numbers and texts of constant inputs are converted in place to their types.

    Outputs with nothing wrong upstream may run even when others have faults, as in ComfyUI.
    """
    error = _malformed(graph, catalogue)
    if error:
        return Verdict((), error)
    outputs = [node_id for node_id, node in graph.items() if catalogue[node["class_type"]].output_node]
    if not outputs:
        return Verdict((), complaint("prompt_no_outputs", "Prompt has no outputs"))
    check = _Check(graph, catalogue)
    node_errors: dict[str, Any] = {}
    good: list[str] = []
    details: list[str] = []
    for output in outputs:
        valid, reasons = check.output(output)
        if valid:
            good.append(output)
            continue
        details += [f"{reason['message']}: {reason['details']}" for reason in reasons]
        for node_id, errors in check.faults().items():
            class_type = graph[node_id]["class_type"]
            entry = {"errors": errors, "dependent_outputs": [], "class_type": class_type}
            node_errors.setdefault(node_id, entry)["dependent_outputs"].append(output)
    if good:
        return Verdict(tuple(good), None, node_errors)
    text = "Prompt outputs failed validation"
    return Verdict((), complaint("prompt_outputs_failed_validation", text, "\n".join(details)), node_errors)
