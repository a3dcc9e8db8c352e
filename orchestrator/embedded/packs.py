"""Loads node packs from a folder as ComfyUI does: each subfolder with NODE_CLASS_MAPPINGS is imported by its path.

Packs expect a module `folder_paths`; a small stand-in over `Folders` is put where they import it from.
"""

import importlib.util
import logging
import sys
from pathlib import Path
from types import ModuleType

from orchestrator.embedded.catalogue import NodeClass, UnsupportedNodeClass, from_pack
from orchestrator.embedded.folders import Folders
from orchestrator.embedded.foreign import Failed, attempt

_log = logging.getLogger(__name__)


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


def load_packs(folder: Path, folders: Folders) -> list[NodeClass]:
    """The node classes of every pack below `folder`; a pack that fails to import is logged and left out."""
    sys.modules["folder_paths"] = _folder_paths(folders)
    classes: list[NodeClass] = []
    for pack in sorted(path.parent for path in folder.glob("*/__init__.py")):
        outcome = attempt(_import, pack)
        if isinstance(outcome, Failed):
            _log.error("Node pack %s cannot be imported: %s", pack.name, outcome.text)
        elif hasattr(outcome, "NODE_CLASS_MAPPINGS"):
            classes += _classes(outcome, pack.name)
    return classes
