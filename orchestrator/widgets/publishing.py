"""A workflow that comes from outside becomes a widget's folder: checked whole, written whole, taken up by hot reload.

The same proposal, conversion and audit as `orchestrator workflows new` and `check`. Files and widgets; no HTTP, and not
who may publish.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import yaml

from orchestrator.comfy.catalog import Catalog
from orchestrator.errors import FieldError, StorageError, WidgetExists, WorkflowError, WorkflowRefused
from orchestrator.widgets import library
from orchestrator.widgets.audit import audit
from orchestrator.widgets.conversion import convert, with_titles, without_editor_fields
from orchestrator.widgets.creation import Words, draft, drawing_text
from orchestrator.widgets.definition import parse_definition
from orchestrator.widgets.drawing import Template
from orchestrator.widgets.proposal import propose
from orchestrator.widgets.widget import Widget

_UNDESCRIBED = "Drawn in ComfyUI's editor."
_DEFINITION, _DRAWING = library.FILES


@dataclass(frozen=True)
class Publication:
    """What an artist sends: a saved workflow (decoded JSON) and the widget's name.

    `replace` allows it to take the place of a widget that is there; that one's widget.yaml is kept, unless `anew` asks
    for a new proposal.
    """

    name: str
    workflow: object
    replace: bool = False
    anew: bool = False
    words: Words = field(default_factory=Words)


@dataclass(frozen=True)
class Plan:
    """A publication that can be used: the files that it writes, the widget that they make, and what to tell of it."""

    name: str
    files: Mapping[str, bytes]
    widget: Widget
    is_new: bool
    sentences: tuple[str, ...]


def plan(folder: Path, publication: Publication, catalog: Catalog) -> Plan:
    """What publishing would do; nothing is written.

    Raises WorkflowRefused with every fault as a sentence, and WidgetExists.
    """
    name, path = publication.name, folder / publication.name
    if not library.NAME.fullmatch(name):
        raise WorkflowRefused(None, [FieldError("name", "can have a-z, 0-9, - and _ only")])
    is_new = not path.exists()
    if not is_new and not publication.replace:
        raise WidgetExists(f"There is a widget {name} already; choose another name, or replace it")
    try:
        graph = without_editor_fields(convert(publication.workflow, catalog), catalog)
        if is_new or publication.anew:
            # People read it on the widget's page at once: no place for the request that a file to be edited makes.
            words = replace(publication.words, description=publication.words.description or _UNDESCRIBED)
            made = draft(name, publication.workflow, graph, catalog, words)
            drawing, definition, sentences = made.drawing, made.definition, made.sentences()
            widget = _audited(name, drawing, definition, catalog)
        else:
            drawing, widget = _redrawn(path, publication.workflow, catalog)
            definition, sentences = (path / _DEFINITION).read_text("utf-8"), ["Its widget.yaml is kept as it is."]
        files = {_DRAWING: drawing.encode(), _DEFINITION: definition.encode()}
    except WorkflowError as fault:
        raise WorkflowRefused(None, [FieldError("workflow", line) for line in fault.detail.split("\n")]) from fault
    except UnicodeEncodeError as fault:
        raise WorkflowRefused(None, [FieldError("workflow", "a text in it has half of a surrogate pair")]) from fault
    offered = ", ".join(widget.definition.parameters)
    return Plan(name, files, widget, is_new, (*sentences, f"{name} can be used; callers set {offered}."))


def _audited(name: str, drawing: str, definition: str, catalog: Catalog) -> Widget:
    """The widget that the two files make. Raises WorkflowError."""
    template = Template.of(json.loads(drawing), catalog)
    return audit(name, parse_definition(yaml.safe_load(definition)), template, catalog)


def _redrawn(path: Path, workflow: object, catalog: Catalog) -> tuple[str, Widget]:
    """A new drawing under the widget.yaml that is there. Raises WorkflowError.

    The drawing may come from the editor as it was before it was first published; then it has not the titles that it got
    for that, and is given them again.
    """
    definition = library.read_definition(path / _DEFINITION)
    template = Template.of(workflow, catalog)
    try:
        return drawing_text(workflow), audit(path.name, definition, template, catalog)
    except WorkflowError as fault:
        try:
            titled = with_titles(workflow, propose(template.graph, catalog).titles)
            return drawing_text(titled), audit(path.name, definition, Template.of(titled, catalog), catalog)
        except WorkflowError:
            raise fault from None


def write(folder: Path, planned: Plan) -> None:
    """Writes what is planned: a new folder appears whole, files of one that is there are replaced one by one.

    Raises WidgetExists when somebody else made a folder of that name in the meantime, and StorageError.
    """
    path = folder / planned.name
    try:
        if planned.is_new:
            _appear(path, planned.files)
        else:
            for name, data in planned.files.items():
                _replace(path / name, data)
    except OSError as fault:
        if planned.is_new and path.exists():
            raise WidgetExists(
                f"There is a widget {planned.name} already; choose another name, or replace it"
            ) from fault
        raise StorageError(f"The widget {planned.name} cannot be written: {fault}") from fault


def _appear(path: Path, files: Mapping[str, bytes]) -> None:
    hidden = path.with_name(f".{path.name}-{uuid4().hex}")  # hot reload does not look at hidden folders
    try:
        hidden.mkdir()
        for name, data in files.items():
            _put(hidden / name, data)
        hidden.rename(path)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _replace(file: Path, data: bytes) -> None:
    if file.is_file() and file.read_bytes() == data:
        return
    hidden = file.with_name(f".{file.name}-{uuid4().hex}")
    try:
        _put(hidden, data)
        hidden.replace(file)
    finally:
        hidden.unlink(missing_ok=True)


def _put(file: Path, data: bytes) -> None:
    with file.open("wb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())
