"""Makes this process a ComfyUI on the CPU that has loaded the node pack; to be imported before any module of ComfyUI's.

Arguments of the program: the checkpoint's path, the pack's folder.
"""

import importlib.util
import sys
from pathlib import Path

checkpoint, _pack_folder = sys.argv[1:]
sys.argv[1:] = ["--cpu"]
import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

_spec = importlib.util.spec_from_file_location("pack", Path(_pack_folder) / "__init__.py")
assert _spec
assert _spec.loader
pack = importlib.util.module_from_spec(_spec)
sys.modules["pack"] = pack
_spec.loader.exec_module(pack)
