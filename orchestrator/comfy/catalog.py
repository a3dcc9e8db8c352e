"""What nodes a backend offers: the answer to `GET /object_info` as typed values. Pure.

Knows nothing of where the answer came from. Input order is the order that the node declares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class InputSpec:
    """One declared input of a node class.

    `kind` is INT, FLOAT, STRING, BOOLEAN, COMBO or a link type such as MODEL; "*" takes anything. `choices` belong to
    COMBO and are None when the editor fetches them from elsewhere; `minimum` and `maximum` belong to INT and FLOAT.
    `options` is the whole of what the declaration says besides the kind: how the editor draws the field.
    """

    kind: str
    required: bool
    choices: tuple[object, ...] | None = None
    default: object = None
    minimum: float | None = None
    maximum: float | None = None
    options: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class NodeClass:
    """One node class; `outputs` are link types by slot, `output_node` marks what makes a graph worth running.

    `title` is what the editor writes on a node that the artist gave no name. `of_pack` is True for a node pack's class,
    which a script of the pack may draw and read in a way of its own.
    """

    name: str
    inputs: Mapping[str, InputSpec]
    outputs: tuple[str, ...]
    output_node: bool
    title: str = ""
    of_pack: bool = False


@dataclass(frozen=True)
class Catalog:
    """Node classes by name."""

    classes: Mapping[str, NodeClass]

    @classmethod
    def from_object_info(cls, value: object) -> "Catalog":
        """Reads decoded `/object_info`. A class whose declaration cannot be read is left out: it cannot be used."""
        if not isinstance(value, Mapping):
            return cls({})
        read = (_node_class(str(name), node) for name, node in value.items())
        return cls({node.name: node for node in read if node is not None})

    def merged(self, other: "Catalog") -> "Catalog":
        """What either offers. Of a class in both, `other`'s declaration counts and the choices are united."""
        classes = dict(self.classes)
        for name, node in other.classes.items():
            classes[name] = _merged_class(classes[name], node) if name in classes else node
        return Catalog(classes)

    def missing(self, classes: frozenset[str]) -> frozenset[str]:
        """Those of `classes` that are not here."""
        # `classes - self.classes.keys()` would walk through every class that there is.
        return frozenset(name for name in classes if name not in self.classes)


def _node_class(name: str, value: object) -> NodeClass | None:
    if not isinstance(value, Mapping) or not isinstance(value.get("input"), Mapping):
        return None
    groups, order = value["input"], value.get("input_order")
    inputs: dict[str, InputSpec] = {}
    for group in ("required", "optional"):
        declared = groups.get(group) or {}
        if not isinstance(declared, Mapping):
            return None
        for input_name in _in_order(declared, order.get(group) if isinstance(order, Mapping) else None):
            spec = _input_spec(declared[input_name], group == "required")
            if spec is None:
                return None
            inputs[input_name] = spec
    outputs = value.get("output")
    kinds = tuple(_kind(item) for item in outputs) if isinstance(outputs, Sequence) else ()
    title, module = value.get("display_name"), value.get("python_module")
    return NodeClass(
        name,
        inputs,
        kinds,
        value.get("output_node") is True,
        title if isinstance(title, str) and title else name,
        isinstance(module, str) and module.startswith("custom_nodes."),
    )


def _in_order(declared: Mapping[str, object], order: object) -> list[str]:
    listed = [name for name in order if name in declared] if isinstance(order, Sequence) else []
    return listed + [name for name in declared if name not in listed]


def _input_spec(value: object, required: bool) -> InputSpec | None:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        return None
    options = value[1] if len(value) > 1 and isinstance(value[1], Mapping) else {}
    return InputSpec(
        kind=_kind(value[0]),
        required=required,
        choices=_choices(value[0], options),
        default=options.get("default"),
        minimum=_number(options.get("min")),
        maximum=_number(options.get("max")),
        options=options,
    )


def _kind(declared: object) -> str:
    # The older way to declare a choice is to write the list of choices where the type stands.
    return declared if isinstance(declared, str) else "COMBO"


def _choices(declared: object, options: Mapping[str, object]) -> tuple[object, ...] | None:
    listed = options.get("options") if isinstance(declared, str) else declared
    if _kind(declared) != "COMBO" or isinstance(listed, str) or not isinstance(listed, Sequence):
        return None
    return tuple(listed)


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _merged_class(first: NodeClass, second: NodeClass) -> NodeClass:
    inputs = {
        name: _merged_spec(first.inputs[name], spec) if name in first.inputs else spec
        for name, spec in second.inputs.items()
    }
    return replace(second, inputs=inputs)


def _merged_spec(first: InputSpec, second: InputSpec) -> InputSpec:
    if first.choices is None or second.choices is None:
        return second
    added = tuple(choice for choice in second.choices if choice not in first.choices)
    return replace(second, choices=first.choices + added)
