"""What a node class is to this program, and how it is described to clients. Knows no particular node, no HTTP.

Core nodes are made of functions; nodes of packs follow ComfyUI's class conventions and are translated here, once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = str | list[str]
"""The type of an input: a name ("INT", "MODEL") or the list of values to choose from."""

Category: TypeAlias = Literal["required", "optional", "hidden"]


@dataclass(frozen=True)
class InputSpec:
    """One input of a node class; `options` are ComfyUI's (default, min, max, step and so on)."""

    name: str
    kind: Kind
    options: Mapping[str, Any] = field(default_factory=dict)
    category: Category = "required"

    @property
    def config(self) -> list[Any]:
        """Kind and options, as validation errors repeat them."""
        return [self.kind, dict(self.options)]

    @property
    def described(self) -> Any:
        """The same as `/object_info` gives it: hidden inputs are a bare word, and empty options are left out."""
        if self.category == "hidden":
            return self.kind
        return self.config if self.options else [self.kind]


@dataclass(frozen=True)
class Result:
    """What one run of a node gave: a value for each output, and what the client shows."""

    values: tuple[Any, ...] = ()
    ui: Mapping[str, Sequence[Any]] | None = None


Runner: TypeAlias = Callable[..., Result]


@dataclass(frozen=True)
class NodeClass:
    """A class of nodes. `make` gives a runner, one for each node of a graph; `inputs` is asked anew each time.

    `changed(**constant inputs)` gives a value that joins the cache key; `check(**constant inputs)` gives True or a
    complaint for the inputs named in `checked`, which then skip the range and list checks, as in ComfyUI.
    """

    name: str
    title: str
    category: str
    inputs: Callable[[], tuple[InputSpec, ...]]
    outputs: tuple[str, ...]
    make: Callable[[], Runner]
    output_node: bool = False
    output_names: tuple[str, ...] | None = None
    changed: Callable[..., object] | None = None
    check: Callable[..., bool | str] | None = None
    checked: frozenset[str] = frozenset()
    description: str = ""
    module: str = "nodes"

    def describe(self) -> dict[str, Any]:
        """This class's entry in `/object_info`."""
        inputs = self.inputs()
        categories = dict.fromkeys(spec.category for spec in inputs)
        return {
            "input": {c: {spec.name: spec.described for spec in inputs if spec.category == c} for c in categories},
            "input_order": {c: [spec.name for spec in inputs if spec.category == c] for c in categories},
            "output": list(self.outputs),
            "output_is_list": [False] * len(self.outputs),
            "output_name": list(self.output_names or self.outputs),
            "name": self.name,
            "display_name": self.title,
            "description": self.description,
            "python_module": self.module,
            "category": self.category,
            "output_node": self.output_node,
        }


Catalogue: TypeAlias = Mapping[str, NodeClass]


class UnsupportedNodeClass(Exception):
    """A pack's class uses a convention that this executor does not know."""


def _pack_inputs(source: Any) -> tuple[InputSpec, ...]:
    specs = []
    for category, members in source.INPUT_TYPES().items():
        for name, given in members.items():
            kind, *rest = given if isinstance(given, tuple | list) else (given,)
            options = rest[0] if rest else {}
            specs.append(InputSpec(name, list(kind) if isinstance(kind, tuple | list) else kind, options, category))
    return tuple(specs)


def _pack_result(answer: Any) -> Result:
    if isinstance(answer, dict):
        return Result(tuple(answer.get("result", ())), answer.get("ui"))
    return Result(tuple(answer or ()))


def from_pack(name: str, source: Any, title: str, module: str) -> NodeClass:
    """Translates a class that follows ComfyUI's conventions; UnsupportedNodeClass when it asks for more than we do."""
    for flag in ("INPUT_IS_LIST", "check_lazy_status"):
        if getattr(source, flag, False):
            raise UnsupportedNodeClass(f"{name} uses {flag}")
    if any(getattr(source, "OUTPUT_IS_LIST", ())):
        raise UnsupportedNodeClass(f"{name} uses OUTPUT_IS_LIST")

    def make() -> Runner:
        run = getattr(source(), source.FUNCTION)
        return lambda **inputs: _pack_result(run(**inputs))

    check = getattr(source, "VALIDATE_INPUTS", None)
    return NodeClass(
        name=name,
        title=title,
        category=getattr(source, "CATEGORY", "sd"),
        inputs=lambda: _pack_inputs(source),
        outputs=tuple(source.RETURN_TYPES),
        make=make,
        output_node=bool(getattr(source, "OUTPUT_NODE", False)),
        output_names=tuple(names) if (names := getattr(source, "RETURN_NAMES", None)) else None,
        changed=getattr(source, "IS_CHANGED", None),
        check=check,
        checked=frozenset(_argument_names(check)) if check else frozenset(),
        description=getattr(source, "DESCRIPTION", ""),
        module=module,
    )


def _argument_names(function: Any) -> tuple[str, ...]:
    code = getattr(function, "__func__", function).__code__
    names: tuple[str, ...] = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return names[1:] if hasattr(function, "__self__") else names
