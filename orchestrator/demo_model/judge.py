"""Tells what the demo model painted: the colour and the shape in a picture of art pixels.

Blind to the prompt: every colour and every sprite at every place is tried, and the best one wins.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orchestrator.demo_model.world import COLOURS, SPRITE_CELLS, SPRITES

CELL = 8
"""Pixels a side of an art pixel."""

_NAMES = tuple(COLOURS)
_PALETTE = np.array([COLOURS[name] for name in _NAMES], np.float32)


@dataclass(frozen=True)
class Verdict:
    """The dominant colour that is not the ground's, and the sprite whose cells agree best with it."""

    colour: str
    shape: str


def cells_of(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """The mean colour of each art pixel: [8h, 8w, 3] uint8 to [h, w, 3] float32."""
    height, width, _ = picture.shape
    tiles = picture[: height // CELL * CELL, : width // CELL * CELL].astype(np.float32)
    cells: npt.NDArray[np.float32] = tiles.reshape(height // CELL, CELL, width // CELL, CELL, 3).mean((1, 3))
    return cells


def judge(cells: npt.NDArray[np.float32], ground: tuple[float, float, float]) -> Verdict:
    """What is painted in `cells` [h, w, 3] (0..255, at least 10x10) on a plain ground of that colour."""
    nearest = np.square(cells[:, :, None] - _PALETTE).sum(-1).argmin(-1)
    distance = np.sqrt(np.square(cells - np.array(ground, np.float32)).sum(-1))
    painted = distance > 50
    counts = np.bincount(nearest[painted], minlength=len(_NAMES))
    return Verdict(_NAMES[int(counts.argmax())], _best_shape(painted))


def _best_shape(painted: npt.NDArray[np.bool_]) -> str:
    """The sprite with the largest intersection over union with the painted cells, over all places."""
    rows, columns = (side - SPRITE_CELLS + 1 for side in painted.shape)
    best, name = -1.0, ""
    for shape, sprite in SPRITES.items():
        for top in range(rows):
            for left in range(columns):
                placed = np.zeros_like(painted)
                placed[top : top + SPRITE_CELLS, left : left + SPRITE_CELLS] = sprite
                overlap = float((placed & painted).sum()) / max(1, int((placed | painted).sum()))
                if overlap > best:
                    best, name = overlap, shape
    return name
