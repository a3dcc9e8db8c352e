"""What artists type: `orchestrator workflows convert`. Works on files alone; nothing runs, no backend is asked.

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
from orchestrator.widgets import library

Folder = Callable[[argparse.Namespace], Path]
"""The folder of workflows that the settings name."""


def register(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", folder: Folder
) -> list[argparse.ArgumentParser]:
    """Adds `workflows` and its commands; answers those that take the options of settings."""
    workflows = commands.add_parser("workflows", help="for artists: look at and publish what the editor saved")
    actions = workflows.add_subparsers(required=True)
    convert = actions.add_parser("convert", help="print the graph that a saved workflow runs as, in the API format")
    convert.add_argument("file", type=Path, help="a workflow as the editor's Save writes it")
    convert.add_argument("--catalogue", type=Path, help="node classes: a backend's answer to GET /object_info")
    convert.set_defaults(run=_convert)
    return []


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
