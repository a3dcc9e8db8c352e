"""The catalogue that workflows are audited against before any backend is connected.

Package data: `data/catalog-0.3.64.json.gz` is what ComfyUI 0.3.64 answers to `GET /object_info`, `data/pack.json` the
same for the node pack in `comfyui_nodes/`. Knows nothing of live backends. To follow a newer ComfyUI, write
`snapshot(json.load(...))` of its answer into a file here.
"""

import gzip
import json
from collections.abc import Mapping
from importlib.resources import files

from orchestrator.comfy.catalog import Catalog

KNOWN_VERSION = "0.3.64"
_CORE = "catalog-0.3.64.json.gz"
_PACK = "pack.json"
_KEPT = ("name", "display_name", "category", "input", "input_order", "output", "output_name", "output_node")


def known_catalog() -> Catalog:
    """The core nodes of ComfyUI 0.3.64 and the node pack's; checkpoint and picture choices are the recorder's own."""
    core = Catalog.from_object_info(core_object_info())
    return core.merged(Catalog.from_object_info(pack_object_info()))


def core_object_info() -> object:
    """Decoded `/object_info` of ComfyUI 0.3.64, without its texts."""
    return json.loads(gzip.decompress(files(__package__).joinpath("data", _CORE).read_bytes()))


def pack_object_info() -> object:
    """Decoded `/object_info` of the node pack alone."""
    return json.loads(files(__package__).joinpath("data", _PACK).read_bytes())


def snapshot(object_info: Mapping[str, Mapping[str, object]]) -> bytes:
    """The gzipped JSON to keep of an `/object_info` answer: what the nodes are, none of what they say of themselves."""
    kept = {name: {key: _silent(node[key]) for key in _KEPT if key in node} for name, node in object_info.items()}
    return gzip.compress(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode(), mtime=0)


def _silent(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _silent(item) for key, item in value.items() if key not in ("tooltip", "description")}
    return [_silent(item) for item in value] if isinstance(value, list) else value
