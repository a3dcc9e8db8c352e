"""Loads node packs from a folder as ComfyUI does: each subfolder with NODE_CLASS_MAPPINGS is imported by its path.

Packs expect a module `folder_paths`; a small stand-in over `Folders` is put where they import it from. What they add to
the editor is found here too, and served elsewhere.
"""

import importlib.util
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from orchestrator.embedded.catalogue import NodeClass, UnsupportedNodeClass, from_pack
from orchestrator.embedded.folders import Folders, OutsideFolder, within
from orchestrator.embedded.foreign import Failed, attempt

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Packs:
    """What the packs of a folder bring: node classes, and by pack the folder itself and that of its scripts."""

    classes: tuple[NodeClass, ...] = ()
    folders: Mapping[str, Path] = field(default_factory=dict)
    scripts: Mapping[str, Path] = field(default_factory=dict)
    """WEB_DIRECTORY of those that have one: JavaScript that the editor loads."""


def _folder_paths(folders: Folders) -> ModuleType:
    """The part of ComfyUI's `folder_paths` that packs use, answering in strings as there."""
    module = ModuleType("folder_paths", "Stand-in of orchestrator.embedded for ComfyUI's module of this name.")

    def get_annotated_filepath(name: str, default_dir: str | None = None) -> str:
        return str(folders.annotated(name))

    module.__dict__.update(
        get_input_directory=lambda: str(folders.of("input")),
        get_output_directory=lambda: str(folders.of("output")),
        get_temp_directory=lambda: str(folders.of("temp")),
        get_directory_by_type=lambda kind: str(folders.of(kind)),
        get_annotated_filepath=get_annotated_filepath,
        exists_annotated_filepath=lambda name: folders.annotated(name).exists(),
        get_filename_list=lambda kind: list(folders.model_names(kind)),
        get_full_path_or_raise=lambda kind, name: str(folders.model(kind, name)),
    )
    return module


def _import(folder: Path) -> ModuleType:
    name = f"orchestrator_pack_{folder.name}"
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} is not a package")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _classes(module: ModuleType, pack: str) -> list[NodeClass]:
    titles = getattr(module, "NODE_DISPLAY_NAME_MAPPINGS", {})
    classes = []
    for name, source in module.NODE_CLASS_MAPPINGS.items():
        try:
            classes.append(from_pack(name, source, titles.get(name, name), f"custom_nodes.{pack}"))
        except UnsupportedNodeClass as error:
            _log.warning("Node class left out: %s", error)
    return classes


def _scripts(module: ModuleType, pack: Path) -> Path | None:
    """The folder of a pack's scripts; it may lie nowhere but in the pack."""
    named = getattr(module, "WEB_DIRECTORY", None)
    if not isinstance(named, str):
        return None
    try:
        folder = within(pack, named)
    except OutsideFolder:
        folder = None
    if folder is None or not folder.is_dir():
        _log.warning("WEB_DIRECTORY of node pack %s is no folder in it: %s", pack.name, named)
        return None
    return folder


def load_packs(folder: Path, folders: Folders, server: ModuleType | None = None) -> Packs:
    """What every pack below `folder` brings; a pack that fails to import is logged and left out.

    `server` is what packs get for `import server`; ImportError if it is None.
    """
    sys.modules["folder_paths"] = _folder_paths(folders)
    if server is not None:
        sys.modules["server"] = server
    classes: list[NodeClass] = []
    packs: dict[str, Path] = {}
    scripts: dict[str, Path] = {}
    for pack in sorted(path.parent for path in folder.glob("*/__init__.py")):
        outcome = attempt(_import, pack)
        if isinstance(outcome, Failed):
            _log.error("Node pack %s cannot be imported: %s", pack.name, outcome.text)
        elif hasattr(outcome, "NODE_CLASS_MAPPINGS"):
            classes += _classes(outcome, pack.name)
            packs[pack.name] = pack
            if (web := _scripts(outcome, pack)) is not None:
                scripts[pack.name] = web
    return Packs(tuple(classes), packs, scripts)
