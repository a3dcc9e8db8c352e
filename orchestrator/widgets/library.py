"""Reads the workflow folders: workflows/<name>/{workflow.json, widget.yaml} → widgets by name.

The one module of this part that touches files; what it read goes to the audit at once.
"""

import json
import re
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import yaml

from orchestrator.comfy.catalog import Catalog
from orchestrator.comfy.graph import Graph
from orchestrator.errors import WorkflowError
from orchestrator.widgets.audit import audit
from orchestrator.widgets.conversion import convert
from orchestrator.widgets.definition import Definition, parse_definition
from orchestrator.widgets.drawing import Template
from orchestrator.widgets.widget import Widget

NAME = re.compile(r"[a-z0-9_-]+")
"""What a widget's folder may be called: it becomes part of a URL."""
FILES = _DEFINITION, _DRAWING = "widget.yaml", "workflow.json"
"""The files of a widget's folder that count."""
_COLON_IN_TEXT = "mapping values are not allowed here"
"""What PyYAML says of `help: Sizes: small and large`, and of a line below that is indented further."""


def load(folder: Path, catalog: Catalog) -> Mapping[str, Widget]:
    """Every widget in `folder`, by name, in alphabetical order: one for each subfolder with a widget.yaml.

    Raises WorkflowError with one line for each fault of all of them, naming folder, node title and input.
    """
    widgets: dict[str, Widget] = {}
    faults: list[str] = []
    for path in widget_folders(folder):
        try:
            widgets[path.name] = load_one(path, catalog)
        except WorkflowError as fault:
            faults += [f"{path.name}: {line}" for line in fault.detail.split("\n")]
    if faults:
        raise WorkflowError("\n".join(faults))
    if not widgets:
        raise WorkflowError(f"{folder} holds no folder with a widget.yaml")
    return MappingProxyType(widgets)


def widget_folders(folder: Path) -> list[Path]:
    """The subfolders with a widget.yaml, but hidden ones, in alphabetical order.

    Raises WorkflowError if `folder` is none.
    """
    if not folder.is_dir():
        raise WorkflowError(f"{folder} is not a folder")
    shown = (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    return [path for path in shown if (path / _DEFINITION).is_file()]


def load_one(path: Path, catalog: Catalog) -> Widget:
    """The widget of one folder. Raises WorkflowError with one line for each fault."""
    if not NAME.fullmatch(path.name):
        raise WorkflowError("a widget's folder is named with a-z, 0-9, - and _ only")
    definition = read_definition(path / _DEFINITION)
    return audit(path.name, definition, _read_template(path / _DRAWING, catalog), catalog)


def read_graph(path: Path, catalog: Catalog) -> Graph:
    """The graph that a workflow saved by ComfyUI's editor runs as. Raises WorkflowError, naming the file."""
    with _naming(path):
        return convert(read_json(path), catalog)


def _read_template(path: Path, catalog: Catalog) -> Template:
    with _naming(path):
        return Template.of(read_json(path), catalog)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Has faults name the file."""
    try:
        yield
    except WorkflowError as fault:
        raise WorkflowError(fault.detail if path.name in fault.detail else f"{path.name}: {fault.detail}") from fault


def read_json(path: Path) -> object:
    """What a JSON file holds, with or without a byte-order mark. Raises WorkflowError, naming the file."""
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as fault:
        raise WorkflowError(f"{path.name} cannot be read: {_one_line(fault)}") from fault


def read_definition(path: Path) -> Definition:
    """What a widget.yaml says. Raises WorkflowError."""
    return parse_definition(_read_yaml(path))


def _read_yaml(path: Path) -> object:
    try:
        return yaml.load(path.read_text("utf-8"), _StrictLoader)  # noqa: S506 - a SafeLoader with one check more
    except yaml.MarkedYAMLError as fault:
        raise WorkflowError(_at_its_line(path.name, fault)) from fault
    except (OSError, ValueError, yaml.YAMLError) as fault:
        raise WorkflowError(f"{path.name} cannot be read: {_one_line(fault)}") from fault


def _at_its_line(name: str, fault: yaml.MarkedYAMLError) -> str:
    """What YAML complains of, for people who write a text and have never heard of mappings."""
    mark = fault.problem_mark or fault.context_mark
    where = f"{name}, line {mark.line + 1}" if mark is not None else name
    if fault.problem == _COLON_IN_TEXT:
        return f"{where}: a text with ': ' in it needs quotes around it; if it has them, the line is indented too far"
    return f"{where}: {_one_line(fault.problem or fault)}"


def _one_line(fault: object) -> str:
    return " ".join(str(fault).split())


class _StrictLoader(yaml.SafeLoader):
    """YAML lets a key stand twice and keeps the last; in a hand-written file that is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError("while reading a mapping", node.start_mark, "a key stands twice")
        return mapping
