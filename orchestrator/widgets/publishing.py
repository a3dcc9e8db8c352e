"""A workflow that comes from outside becomes a widget's folder: checked whole, written whole, taken up by hot reload.

The same proposal, conversion and audit as `orchestrator workflows new` and `check`. Files and widgets; no HTTP, and not
who may publish.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import yaml

from orchestrator.comfy.catalog import Catalog
from orchestrator.comfy.graph import Graph
from orchestrator.errors import FieldError, StorageError, WidgetExists, WorkflowError, WorkflowRefused
from orchestrator.widgets import library
from orchestrator.widgets.audit import audit
from orchestrator.widgets.conversion import convert, with_titles, without_editor_fields
from orchestrator.widgets.creation import Words, draft, drawing_text, titled_sentences, with_words
from orchestrator.widgets.definition import parse_definition
from orchestrator.widgets.drawing import Template
from orchestrator.widgets.proposal import propose
from orchestrator.widgets.unheeded import unheeded
from orchestrator.widgets.widget import Widget

_DEFINITION, _DRAWING = library.FILES


@dataclass(frozen=True)
class Publication:
    """What an artist sends: a saved workflow (decoded JSON) and the widget's name.

    `replace` allows it to take the place of a widget that is there; that one's widget.yaml is kept, with `words` in the
    place of its own where they are not empty, unless `anew` asks for a new proposal.
    """

    name: str
    workflow: object
    replace: bool = False
    anew: bool = False
    words: Words = field(default_factory=Words)


@dataclass(frozen=True)
class Plan:
    """A publication that can be used: the files that it writes, the widget that they make, and what to tell of it.

    `titles` are those that nodes of the drawing (by id) get for it.
    """

    name: str
    files: Mapping[str, bytes]
    widget: Widget
    is_new: bool
    sentences: tuple[str, ...]
    titles: Mapping[str, str]


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
        made = (_proposed if is_new or publication.anew else _kept)(path, publication, catalog)
        files = {_DRAWING: made.drawing.encode(), _DEFINITION: made.definition.encode()}
    except WorkflowError as fault:
        raise WorkflowRefused(None, [FieldError("workflow", line) for line in fault.detail.split("\n")]) from fault
    except UnicodeEncodeError as fault:
        raise WorkflowRefused(None, [FieldError("workflow", "a text in it has half of a surrogate pair")]) from fault
    offered = ", ".join(made.widget.definition.parameters)
    sentences = (*made.sentences, f"{name} can be used; callers set {offered}.")
    return Plan(name, files, made.widget, is_new, sentences, made.titles)


@dataclass(frozen=True)
class _Made:
    """The two files of a widget, what they make, and what to tell of them."""

    drawing: str
    definition: str
    widget: Widget
    titles: Mapping[str, str]
    sentences: tuple[str, ...]


def _proposed(path: Path, publication: Publication, catalog: Catalog) -> _Made:
    """A new proposal. Raises WorkflowError."""
    graph = without_editor_fields(convert(publication.workflow, catalog), catalog)
    made = draft(path.name, publication.workflow, graph, catalog, publication.words)
    widget = _audited(path.name, json.loads(made.drawing), made.definition, catalog)
    return _Made(made.drawing, made.definition, widget, made.proposal.titles, made.sentences)


def _kept(path: Path, publication: Publication, catalog: Catalog) -> _Made:
    """A new drawing under the widget.yaml that is there, with the new words in it, if any. Raises WorkflowError.

    The drawing may come from the editor as it was before it was first published; then it has not the titles that it got
    for that, and is given them again.
    """
    library.read_definition(path / _DEFINITION)
    kept = (path / _DEFINITION).read_text("utf-8")
    definition = with_words(kept, publication.words)
    workflow, titles, telling = publication.workflow, dict[str, str](), list[str]()
    try:
        widget = _audited(path.name, workflow, definition, catalog)
    except WorkflowError as fault:
        try:
            graph = Template.of(workflow, catalog).graph
            titles = dict(propose(graph, catalog).titles)
            telling = titled_sentences(graph, titles)
            workflow = with_titles(workflow, titles)
            widget = _audited(path.name, workflow, definition, catalog)
        except WorkflowError:
            raise fault from None
    telling.append("Its widget.yaml is kept as it is" + (", with your words in it." if definition != kept else "."))
    telling += unheeded(widget, _drawn_before(path, catalog))
    return _Made(drawing_text(workflow), definition, widget, titles, tuple(telling))


def _audited(name: str, workflow: object, definition: str, catalog: Catalog) -> Widget:
    """The widget that the drawing and the text of a widget.yaml make. Raises WorkflowError."""
    return audit(name, parse_definition(yaml.safe_load(definition)), Template.of(workflow, catalog), catalog)


def _drawn_before(path: Path, catalog: Catalog) -> Graph:
    """What the drawing that is there runs as; nothing where it cannot be read, for it is replaced."""
    try:
        return library.read_graph(path / _DRAWING, catalog)
    except WorkflowError:
        return Graph({})


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
