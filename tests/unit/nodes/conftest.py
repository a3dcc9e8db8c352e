"""Loads the node pack as ComfyUI does: by path, as a package of its own, beside ComfyUI's `folder_paths`."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

PACK = Path(__file__).parents[3] / "comfyui_nodes" / "a1111_inpaint"


@pytest.fixture(scope="session")
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("comfyui-temp")


@pytest.fixture(scope="session")
def pack(temporary_folder: Path) -> Iterator[ModuleType]:
    before = sys.modules.get("folder_paths")
    host = ModuleType("folder_paths")
    host.get_temp_directory = lambda: str(temporary_folder)
    sys.modules["folder_paths"] = host
    spec = importlib.util.spec_from_file_location("pack_under_test", PACK / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["pack_under_test"] = module
    spec.loader.exec_module(module)
    yield module
    for name in [name for name in sys.modules if name.partition(".")[0] == "pack_under_test"]:
        del sys.modules[name]
    if before is None:
        del sys.modules["folder_paths"]
    else:
        sys.modules["folder_paths"] = before


@pytest.fixture
def node(pack: ModuleType):
    return lambda name: pack.NODE_CLASS_MAPPINGS[name]()


@pytest.fixture
def picture():
    """(height, width, seed) → one IMAGE of 8-bit levels, smooth with some grain."""

    def make(height: int, width: int, seed: int = 0) -> torch.Tensor:
        source = torch.Generator().manual_seed(seed)
        coarse = torch.rand((1, 3, 5, 5), generator=source)
        smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
        grain = torch.rand((1, 3, height, width), generator=source) * 0.1
        return ((smooth * 0.9 + grain) * 255).floor().movedim(1, -1) / 255

    return make
