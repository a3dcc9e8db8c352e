"""What the node pack costs a 1024x1024 inpainting job besides encoding, sampling and decoding: CPU time, one thread.

Every node of the pack that a request runs, but for the prompts (encoding) and the sampler, is timed as the compiled
graph runs it, and summed for each mode.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import figure
from orchestrator.embedded.folders import Folders
from orchestrator.embedded.packs import load_packs

_SIDE = 1024
_RUNS = 15
_MODES: Mapping[str, tuple[str, ...]] = {
    "original": ("masks", "result"),
    "fill": ("masks", "fill", "result"),
    "latent noise": ("masks", "fill", "noise", "result"),
    "latent nothing": ("masks", "fill", "nothing", "result"),
    "original, only masked": ("masks", "crop", "paste", "result"),
    "fill, only masked": ("masks", "crop", "fill_box", "paste", "result"),
    "latent noise, only masked": ("masks", "crop", "fill_box", "noise", "paste", "result"),
    "latent nothing, only masked": ("masks", "crop", "fill_box", "nothing", "paste", "result"),
    "original, nine channels": ("masks", "concat", "result"),
}
"""Which nodes of the pack a request runs, by what the masked part starts from."""


def _disc(radius: int) -> torch.Tensor:
    places = torch.arange(_SIDE) - _SIDE // 2
    return ((places[:, None] ** 2 + places[None] ** 2) < radius**2).float()[None]


def _milliseconds(work: Callable[[], object]) -> list[float]:
    """Each run's CPU time, after one that does not count."""
    work()
    seconds = []
    for _ in range(_RUNS):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return [1000 * each for each in seconds]


def _nodes(folder: Path) -> Mapping[str, Callable[..., Any]]:
    """The pack's classes as the embedded backend runs them, by name without A1111."""
    folders = Folders(folder, folder)
    folders.prepare()
    kinds = load_packs(Path(__file__).parents[1] / "comfyui_nodes", folders).classes
    return {kind.name.removeprefix("A1111"): kind.make() for kind in kinds}


class _Model:
    """Stands for the loaded checkpoint: SD1.5's latent format, and an autoencoder that costs nothing."""

    scale = 0.18215

    def get_model_object(self, name: str) -> "_Model":
        assert name == "latent_format"
        return self

    def process_out(self, latent: torch.Tensor) -> torch.Tensor:
        return latent / self.scale

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.zeros(1, 4, pixels.shape[1] // 8, pixels.shape[2] // 8)


def _works(run: Mapping[str, Callable[..., Any]]) -> Mapping[str, Callable[[], object]]:
    """Each node ready to run on the picture, with what the nodes before it give."""
    image, disc = torch.rand(1, _SIDE, _SIDE, 3), _disc(200)
    masks = partial(run["InpaintMasks"], image=image, mask=disc, mask_blur=4, invert=0)
    padded, cells, overlay, blurred = masks().values
    samples = {"samples": torch.rand(1, 4, _SIDE // 8, _SIDE // 8)}
    start = partial(run["InpaintStart"], samples=samples, mask=cells, model=_Model(), seed=7, noise_source="cpu")
    crop = partial(run["InpaintCrop"], image=padded, latent_mask=cells, overlay_mask=overlay, blurred_mask=blurred)
    crop = partial(crop, padding=32, feather="inside")
    box, _, _, box_mask = crop().values
    prompt = [[torch.zeros(1, 77, 768), {}]]
    concat = partial(run["InpaintConditioning"], positive=prompt, negative=prompt, vae=_Model(), mask=blurred)
    return {
        "masks": masks,
        "fill": partial(run["InpaintFill"], image=padded, mask=blurred),
        "noise": partial(start, start="latent noise"),
        "nothing": partial(start, start="latent nothing"),
        "fill_box": partial(run["InpaintFill"], image=box, mask=box_mask),
        "crop": crop,
        "paste": partial(run["InpaintPaste"], image=image, blurred_mask=blurred, padding=32),
        "concat": partial(concat, image=padded),
        "result": partial(run["TemporaryImage"], images=image),
    }


def _figures(name: str, milliseconds: list[float], **conditions: object) -> None:
    figure(name, statistics.median(milliseconds), "ms", _RUNS, **conditions)
    figure(f"{name}_worst", max(milliseconds), "ms", _RUNS, **conditions)


def main() -> None:
    """Times each node at the default blur, then the sums by mode, and the masks at the widest blur."""
    torch.set_num_threads(1)
    conditions = {"picture": f"{_SIDE}x{_SIDE}", "mask": "disc of radius 200", "threads": 1, "time": "CPU"}
    with tempfile.TemporaryDirectory() as folder:
        run = _nodes(Path(folder))
        took = {}
        for name, work in _works(run).items():
            took[name] = _milliseconds(work)
            _figures(f"node_{name}", took[name], mask_blur=4, **conditions)
        for mode, names in _MODES.items():
            sums = [sum(runs) for runs in zip(*(took[name] for name in names), strict=True)]
            _figures("node_time", sums, mode=mode, mask_blur=4, **conditions)
        wide = partial(run["InpaintMasks"], image=torch.rand(1, _SIDE, _SIDE, 3), mask=_disc(200), invert=0)
        _figures("node_masks", _milliseconds(partial(wide, mask_blur=64)), mask_blur=64, **conditions)


if __name__ == "__main__":
    main()
