"""How much of a mask is left to repaint at latent resolution. Pure arithmetic; must not know how the backend repaints.

A1111's rule (v1.10.1, `modules/processing.py` 1610-1660 and 1738-1745), as the node pack computes it: the binary mask
is blurred (Gaussian, sigma = mask_blur pixels, radius int(2.5 sigma + 0.5), border reflected without its edge pixel),
padded at the right and bottom to a multiple of 8 by its last column and row (A1111 crops instead), scaled down by 8
with Pillow's antialiased bicubic filter, and a latent cell is repainted where that rounds to 128 of 255 or more. Blur
and scaling are linear and separable, so here they are one matrix a side.
"""

import math

import numpy as np
from numpy.typing import NDArray

from orchestrator.images.picture import Mask, wrong

_CELL = 8
_BLOCK, _TILE = 16, 32
"""Output rows and columns of one matrix product. Rows, because the matrices are banded and whole products would mostly
multiply zeros; columns, because so small a product stays on this thread: OpenBLAS' own threads wait by spinning, which
costs ten times the time when a backend uses the processor."""


def latent_cells(region: NDArray[np.bool_], *, blur: int, invert: bool) -> int:
    """How many 8x8-pixel latent cells are repainted.

    `region` has shape (height, width), True where the mask is white; `blur` is mask_blur in pixels, 0 to 64; `invert`
    repaints the rest instead. The node pack rounds to 8 bits between its steps, so a cell on the threshold may differ.
    """
    height, width = region.shape
    rows, columns = _shrinking(height, blur), _shrinking(width, blur)
    down, across = _extent(np.any(region, axis=1)), _extent(np.any(region, axis=0))
    narrow = _apply(rows[:, down], region[down, across])
    cells = _apply(columns[:, across], narrow.T).T
    if invert:  # linear: what the rest leaves is what a white mask leaves, less this
        cells = np.outer(rows.sum(axis=1), columns.sum(axis=1)) - cells
    return int(np.count_nonzero(cells * 255 + 0.5 >= 128))


def require_latent_mask(mask: Mask, *, blur: int, invert: bool, field: str | None = None) -> None:
    """Raises InvalidParameters naming the mask (or `field`) if a run with it would repaint nothing.

    Takes 30 to 200 ms for 12 megapixels: call it in `PictureThreads`.
    """
    name = field or mask.field
    painted = bool(mask.region.all()) if invert else not mask.region.any()
    if painted and invert:
        message = "The whole mask is white and inpainting_mask_invert is 1, so nothing is repainted; set it to 0."
        raise wrong(name, message)
    if painted:
        message = "The mask has no white pixel; paint the region to repaint white, or set inpainting_mask_invert to 1."
        raise wrong(name, message)
    if not latent_cells(mask.region, blur=blur, invert=invert):
        colour = "black (inpainting_mask_invert is 1)" if invert else "white"
        advice = "draw it thicker" if not blur else f"draw it thicker or lower mask_blur (now {blur})"
        lost = f"The {colour} region of the mask is too thin: nothing of it is left in the model's grid of 8x8 pixels"
        raise wrong(name, f"{lost}; {advice}; {sure_diameter(blur)} pixels across are always enough.")


def sure_diameter(blur: int) -> int:
    """Pixels across, of a disc that keeps a latent cell wherever it lies: 2.36 sigma keep a Gaussian's centre over one
    half, and a cell's bicubic window is 16 pixels wide."""
    return math.ceil(2.5 * blur) + 16


def _shrinking(size: int, blur: int) -> NDArray[np.float32]:
    """Blur and down-scaling of one side: shape (ceil(size / 8), size); what is padded repeats the last pixel."""
    cells = math.ceil(size / _CELL)
    gauss = _gauss(blur)
    reach = len(gauss) // 2
    inner_start, inner = _bicubic(2, 5 * _CELL)
    inner_taps = np.convolve(inner, gauss)
    matrix = np.zeros((cells, size), np.float32)
    for cell in range(cells):
        first = (cell - 2) * _CELL + inner_start - reach
        if first >= 0 and first + len(inner_taps) <= size:
            matrix[cell, first : first + len(inner_taps)] = inner_taps
            continue
        start, weights = _bicubic(cell, cells * _CELL)
        beyond = weights[size - start :].sum()
        weights = weights[: size - start].copy()
        weights[-1] += beyond
        taps = np.convolve(weights, gauss)
        places = _reflected(np.arange(start - reach, start - reach + len(taps)), size)
        matrix[cell] = np.bincount(places, taps, size)
    return matrix


def _gauss(sigma: int) -> NDArray[np.float64]:
    if sigma == 0:
        return np.ones(1)
    radius = int(2.5 * sigma + 0.5)
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2.0 * sigma * sigma))
    return np.asarray(weights / weights.sum(), np.float64)


def _bicubic(cell: int, size: int) -> tuple[int, NDArray[np.float64]]:
    """First pixel and weights of one output cell: Pillow's bicubic (a = -0.5) stretched by 8, cut off at the borders.

    `size` is that of the padded side.
    """
    centre = (cell + 0.5) * _CELL
    start, stop = max(0, int(centre - 2 * _CELL + 0.5)), min(size, int(centre + 2 * _CELL + 0.5))
    x = np.abs(np.arange(start, stop) + 0.5 - centre) / _CELL
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    return start, weights / weights.sum()


def _reflected(places: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Pixel numbers beyond either border mirrored at the edge pixel (reflect-101), as often as it takes."""
    period = max(2 * (size - 1), 1)
    folded = np.mod(places, period)
    mirrored: NDArray[np.int64] = np.minimum(folded, period - folded)
    return mirrored


def _extent(used: NDArray[np.bool_]) -> slice:
    """From the first to the last True; empty if there is none."""
    places = np.flatnonzero(used)
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)


def _apply(matrix: NDArray[np.float32], values: NDArray[np.bool_] | NDArray[np.float32]) -> NDArray[np.float32]:
    """`matrix @ values`, band by band and tile by tile."""
    height, width = values.shape
    tiles = math.ceil(width / _TILE)
    padded = np.zeros((height, tiles * _TILE), np.float32)
    padded[:, :width] = values
    tiled = padded.reshape(height, tiles, _TILE).swapaxes(0, 1)
    result = np.zeros((tiles, matrix.shape[0], _TILE), np.float32)
    for top in range(0, matrix.shape[0], _BLOCK):
        block = matrix[top : top + _BLOCK]
        band = _extent(np.any(block, axis=0))
        np.matmul(block[:, band], tiled[:, band], out=result[:, top : top + _BLOCK])
    return result.swapaxes(0, 1).reshape(matrix.shape[0], -1)[:, :width]
