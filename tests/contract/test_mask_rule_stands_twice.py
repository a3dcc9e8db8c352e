"""The service may not import torch, so the mask's arithmetic stands in `images.mask` and in the pack: they agree."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from orchestrator.embedded.folders import Folders
from orchestrator.embedded.packs import load_packs
from orchestrator.images.mask import latent_cells

_NODES = Path(__file__).parents[2] / "comfyui_nodes"


def drawn(rng: random.Random) -> Image.Image:
    """A mask of any size with one stroke, dot or block, often too thin to survive."""
    mask = Image.new("L", (rng.randint(9, 150), rng.randint(9, 150)))
    draw, thickness = ImageDraw.Draw(mask), rng.choice((1, 3, 6, 10, 20, 40))
    x, y = rng.randrange(mask.width), rng.randrange(mask.height)
    if rng.random() < 0.5:
        draw.line((x, y, rng.randrange(mask.width), rng.randrange(mask.height)), 255, thickness)
    else:
        draw.ellipse((x, y, x + thickness, y + thickness), 255)
    return mask


@pytest.fixture(scope="module")
def prepare(tmp_path_factory: pytest.TempPathFactory):
    """The pack's node as the embedded backend runs it: mask, blur, invert to the number of cells that are repainted."""
    folders = Folders(tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("temp"))
    folders.prepare()
    kinds = {kind.name: kind for kind in load_packs(_NODES, folders).classes}
    run, crop = kinds["A1111InpaintMasks"].make(), kinds["A1111InpaintCrop"].make()

    def cells(mask: Image.Image, blur: int, invert: int, padding: int | None = None) -> int:
        levels = torch.from_numpy(np.asarray(mask).astype(np.float32) / 255)[None]
        image = torch.zeros(1, mask.height, mask.width, 3)
        result = run(image=image, mask=levels, mask_blur=blur, invert=invert).values
        if padding is not None:
            names = ("image", "latent_mask", "overlay_mask", "blurred_mask")
            result = crop(**dict(zip(names, result, strict=True)), padding=padding, feather="inside").values
        return int(result[1].sum())

    return cells


def test_service_and_node_agree_on_what_is_left_to_repaint(prepare) -> None:
    rng = random.Random(4)
    empty = 0
    for _ in range(250):
        mask, blur, invert = drawn(rng), rng.choice((0, 0, 2, 4, 16, 40)), int(rng.random() < 0.2)
        theirs = prepare(mask, blur, invert)
        ours = latent_cells(np.asarray(mask) > 0, blur=blur, invert=bool(invert))
        assert (ours == 0) == (theirs == 0), (mask.size, blur, invert)
        assert abs(ours - theirs) <= max(2, theirs // 20)
        empty += theirs == 0
    assert 40 < empty < 210, "the masks should be of both kinds"


def test_they_agree_on_only_masked_too(prepare) -> None:
    rng = random.Random(5)
    empty, far = 0, []
    for _ in range(250):
        mask, blur, invert = drawn(rng), rng.choice((0, 0, 2, 4, 16, 40)), int(rng.random() < 0.2)
        padding = rng.choice((0, 4, 32, 200))
        theirs = prepare(mask, blur, invert, padding)
        ours = latent_cells(np.asarray(mask) > 0, blur=blur, invert=bool(invert), padding=padding)
        empty += theirs == 0
        if (ours == 0) != (theirs == 0):
            assert max(ours, theirs) <= 8, (mask.size, blur, invert, padding, ours, theirs)
            far.append((ours, theirs))
        else:
            assert abs(ours - theirs) <= max(8, theirs * 0.2), (mask.size, blur, invert, padding, ours, theirs)
    assert 10 < empty < 240, "the masks should be of both kinds"
    assert len(far) <= 5, far
