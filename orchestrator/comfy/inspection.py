"""What stands in the way of jobs at one backend, as sentences that say what to mend. Asks, and runs nothing.

Knows what graphs and models are wanted there, and not why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.comfy.catalog import Catalog
from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.known import KNOWN_VERSION
from orchestrator.errors import BackendError

_LISTED = 5


@dataclass(frozen=True)
class Report:
    """What was found at a backend: what it is, what keeps jobs from it, and what is merely worth knowing."""

    about: str
    faults: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


async def inspect(
    backend: BackendClient, widgets: Mapping[str, frozenset[str]], checkpoints: Sequence[str], models: str
) -> Report:
    """Asks an open backend. `widgets` are node classes by widget, `checkpoints` the files in the folder `models`."""
    try:
        stats, catalog = await backend.stats(), await backend.catalog()
        deletes, fetches = await backend.can_delete_results(), await backend.can_fetch_models()
    except BackendError as error:
        return Report("does not answer", (f"it cannot be asked: {error.detail}; start it, or mend its url",))
    faults = [*_lacking(widgets, catalog), *_unseen(backend, catalog, checkpoints, models, fetches)]
    remarks = []
    if stats.comfyui_version != KNOWN_VERSION:
        remarks.append(f"it runs ComfyUI {stats.comfyui_version or '?'}; workflows are audited against {KNOWN_VERSION}")
    if not deletes:
        remarks.append(
            "it keeps the results of Save Image and Preview Image nodes for ever: have it load the node pack"
            " orchestrator_results"
        )
    devices = ", ".join(device.name or device.kind for device in stats.devices)
    about = f"ComfyUI {stats.comfyui_version or '?'} on {devices or 'an unknown device'}"
    return Report(f"{about}, {len(catalog.classes)} node classes", tuple(faults), tuple(remarks))


def _lacking(widgets: Mapping[str, frozenset[str]], catalog: Catalog) -> list[str]:
    lacks = {name: sorted(catalog.missing(classes)) for name, classes in widgets.items()}
    return [
        f"it cannot run {name}, for it lacks {_some(classes)}: have it load the node pack (the folder comfyui_nodes)"
        " or what else has them, and restart it"
        for name, classes in lacks.items()
        if classes
    ]


def _unseen(
    backend: BackendClient, catalog: Catalog, checkpoints: Sequence[str], models: str, fetches: bool
) -> list[str]:
    if backend.fetches_models:
        told = "models: fetch is set and it has not loaded the node pack orchestrator_models; copy it there, restart it"
        return [] if fetches else [told]
    loader = catalog.classes.get("CheckpointLoaderSimple")
    choices = loader.inputs["ckpt_name"].choices if loader and "ckpt_name" in loader.inputs else None
    unseen = sorted(file for file in checkpoints if file not in (choices or ()))
    if not unseen:
        return []
    return [
        f"it does not see {_some(unseen)} of {models}: name that folder in its --extra-model-paths-config, or set"
        " models: fetch"
    ]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
