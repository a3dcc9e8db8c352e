"""What the node pack costs a 1024x1024 job besides encoding, sampling and decoding: CPU time, one thread."""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks.report import figure
from orchestrator.embedded.folders import Folders
from orchestrator.embedded.packs import load_packs

_SIDE = 1024
_RUNS = 15


def _disc(radius: int) -> torch.Tensor:
    places = torch.arange(_SIDE) - _SIDE // 2
    return ((places[:, None] ** 2 + places[None] ** 2) < radius**2).float()[None]


def _milliseconds(work: Callable[[], object]) -> float:
    """The median CPU time of some runs after one that does not count."""
    work()
    seconds = []
    for _ in range(_RUNS):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return 1000 * statistics.median(seconds)


def main() -> None:
    """Times masks at several blurs, fill, and the result node."""
    torch.set_num_threads(1)
    image, disc = torch.rand(1, _SIDE, _SIDE, 3), _disc(200)
    with tempfile.TemporaryDirectory() as folder:
        folders = Folders(Path(folder), Path(folder))
        folders.prepare()
        nodes = Path(__file__).parents[1] / "comfyui_nodes"
        run = {kind.name: kind.make() for kind in load_packs(nodes, folders).classes}
        conditions = {"picture": f"{_SIDE}x{_SIDE}", "mask": "disc of radius 200", "threads": 1, "time": "CPU"}
        for blur in (0, 4, 16, 64):
            masks = partial(run["A1111InpaintMasks"], image=image, mask=disc, mask_blur=blur, invert=0)
            figure("node_masks", _milliseconds(masks), "ms", _RUNS, mask_blur=blur, **conditions)
        figure(
            "node_fill",
            _milliseconds(lambda: run["A1111InpaintFill"](image=image, mask=disc)),
            "ms",
            _RUNS,
            **conditions,
        )
        figure(
            "node_result", _milliseconds(lambda: run["A1111TemporaryImage"](images=image)), "ms", _RUNS, **conditions
        )


if __name__ == "__main__":
    main()
