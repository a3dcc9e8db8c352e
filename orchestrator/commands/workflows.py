"""What artists type: `orchestrator workflows new`, `check`, `convert`. Works on files; no backend is asked.

Knows the workflows part and the terminal; the settings are read by `cli`.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from orchestrator.comfy.catalog import Catalog
from orchestrator.comfy.known import known_catalog
from orchestrator.errors import WorkflowError
from orchestrator.widgets import creation, library

Folder = Callable[[argparse.Namespace], Path]
"""The folder of workflows that the settings name."""


def register(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", folder: Folder
) -> list[argparse.ArgumentParser]:
    """Adds `workflows` and its commands; answers those that take the options of settings."""
    workflows = commands.add_parser("workflows", help="for artists: look at and publish what the editor exported")
    actions = workflows.add_subparsers(required=True)
    convert = actions.add_parser("convert", help="print the graph that a saved workflow runs as, in the API format")
    convert.add_argument("file", type=Path, help="a workflow as the editor's File → Export writes it")
    convert.add_argument("--catalogue", type=Path, help="node classes: a backend's answer to GET /object_info")
    convert.set_defaults(run=_convert)
    new = actions.add_parser("new", help="make a widget of a saved workflow: proposes its parameters")
    new.add_argument("name", help="what callers ask for: a-z, 0-9, - and _")
    new.add_argument("file", type=Path, help="a workflow as the editor's File → Export writes it")
    new.set_defaults(run=lambda options: _new(options, folder(options)))
    check = actions.add_parser("check", help="say what is wrong with the widgets, or with those named")
    check.add_argument("name", nargs="*", help="a widget; all of them if none is named")
    check.set_defaults(run=lambda options: _check(options, folder(options)))
    for command in (new, check):
        command.add_argument("--catalogue", type=Path, help="node classes: a backend's answer to GET /object_info")
    return [new, check]


def _new(options: argparse.Namespace, folder: Path) -> int:
    made = creation.create(folder, options.name, options.file, _catalog(options.catalogue))
    path, parameters = _from_here(folder / options.name), made.proposal.parameters
    print(f"{path} is made, with {len(parameters)} parameters: {', '.join(parameters)}.")
    for sentence in made.sentences:
        print(sentence)
    print(f"Now edit {path / 'widget.yaml'}; 'orchestrator workflows check {options.name}' says what does not fit:")
    return _check(argparse.Namespace(name=[options.name], catalogue=options.catalogue), folder)


def _from_here(path: Path) -> Path:
    """The path as one would type it: relative where it lies below the folder that one works in."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _check(options: argparse.Namespace, folder: Path) -> int:
    catalog = _catalog(options.catalogue)
    paths = library.widget_folders(folder)
    unknown = sorted(set(options.name) - {path.name for path in paths})
    if unknown:
        there = ", ".join(path.name for path in paths) or "none"
        raise WorkflowError(f"there is no widget {', '.join(unknown)} in {folder}; there are: {there}")
    faulty = 0
    for path in paths:
        if options.name and path.name not in options.name:
            continue
        try:
            widget = library.load_one(path, catalog)
        except WorkflowError as fault:
            faulty += 1
            print(f"{path.name} cannot be used:")
            for line in fault.detail.split("\n"):
                print(f"  - {line}")
        else:
            print(f"{path.name} can be used; callers set {', '.join(widget.definition.parameters)}")
    return 1 if faulty else 0


def _convert(options: argparse.Namespace) -> int:
    catalog = _catalog(options.catalogue)
    graph = library.read_graph(options.file, catalog)
    for name in sorted(catalog.missing(graph.classes)):
        print(f"orchestrator: {name} is not in the node catalogue; its inputs are as they were saved", file=sys.stderr)
    print(json.dumps(graph.to_api(), indent=2, ensure_ascii=False))
    return 0


def _catalog(path: Path | None) -> Catalog:
    if path is None:
        return known_catalog()
    catalog = Catalog.from_object_info(library.read_json(path))
    if not catalog.classes:
        raise WorkflowError(f"{path.name} holds no node classes; save a backend's answer to GET /object_info")
    return catalog
