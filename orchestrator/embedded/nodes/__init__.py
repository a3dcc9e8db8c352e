"""ComfyUI's core node classes, written anew: names, inputs, defaults and outputs are those of ComfyUI 0.3.64.

`core_classes` lists them; each file makes those of one group from what they need.
"""

from orchestrator.embedded.catalogue import NodeClass
from orchestrator.embedded.checkpoint import Shelf
from orchestrator.embedded.folders import Folders
from orchestrator.embedded.monitor import Monitor
from orchestrator.embedded.nodes import absent, conditioning, latents, loaders, masks, pictures, sampling


def core_classes(folders: Folders, shelf: Shelf, monitor: Monitor) -> tuple[NodeClass, ...]:
    """Every core class that this backend offers."""
    return (
        *loaders.classes(folders, shelf, monitor),
        *conditioning.classes(),
        *latents.classes(),
        *sampling.classes(monitor),
        *pictures.classes(folders),
        *masks.classes(folders),
        *absent.classes(),
    )
