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
_ALL_TRUE = np.frombuffer(np.ones(_CELL, np.bool_), np.uint64)[0]
_BLOCK, _TILE = 16, 32
"""Output rows and columns of one matrix product. Rows, because the matrices are banded and whole products would mostly
multiply zeros; columns, because so small a product stays on this thread: OpenBLAS' own threads wait by spinning, which
costs ten times the time when a backend uses the processor."""


def latent_cells(region: NDArray[np.bool_], *, blur: int, invert: bool, padding: int | None = None) -> int:
    """How many 8x8-pixel latent cells are repainted.

    `region` has shape (height, width), True where the mask is white; `blur` is mask_blur in pixels, 0 to 64; `invert`
    repaints the rest instead; with a `padding` (pixels) only a box around what is repainted goes to the model, in the
    picture's size. The node pack rounds to 8 bits between its steps, so a cell on the threshold may differ.
    """
    height, width = region.shape
    high, wide = math.ceil(height / _CELL), math.ceil(width / _CELL)
    above, beside = slice(0, high * _CELL), slice(0, wide * _CELL)
    if padding is not None:
        above, beside = _box(region ^ invert, (high * _CELL, wide * _CELL), padding + _reach(blur))
    rows, columns = _shrinking(height, blur, above, high), _shrinking(width, blur, beside, wide)
    down, across = _extent(np.any(region, axis=1)), _extent(np.any(region, axis=0))
    narrow = _apply(rows[:, down], region[down, across])
    cells = _apply(columns[:, across], narrow.T).T
    if invert:  # linear: what the rest leaves is what a white mask leaves, less this
        cells = np.outer(rows.sum(axis=1), columns.sum(axis=1)) - cells
    return int(np.count_nonzero(cells * 255 + 0.5 >= 128))


def require_latent_mask(mask: Mask, *, blur: int, invert: bool, padding: int | None = None) -> None:
    """Raises InvalidParameters naming the mask if a run with it would repaint nothing.

    Takes up to 200 ms for 12 megapixels: call it in `PictureThreads`.
    """
    name = mask.field
    painted = bool(mask.region.all()) if invert else not mask.region.any()
    if painted and invert:
        message = "The whole mask is white and inpainting_mask_invert is 1, so nothing is repainted; set it to 0."
        raise wrong(name, message)
    if painted:
        message = "The mask has no white pixel; paint the region to repaint white, or set inpainting_mask_invert to 1."
        raise wrong(name, message)
    if keeps_surely(mask.region, blur=blur, invert=invert):
        return
    if not latent_cells(mask.region, blur=blur, invert=invert, padding=padding):
        colour = "black (inpainting_mask_invert is 1)" if invert else "white"
        advice = "draw it thicker" if not blur else f"draw it thicker or lower mask_blur (now {blur})"
        lost = f"The {colour} region of the mask is too thin: nothing of it is left in the model's grid of 8x8 pixels"
        raise wrong(name, f"{lost}; {advice}; {sure_diameter(blur)} pixels across are always enough.")


def keeps_surely(region: NDArray[np.bool_], *, blur: int, invert: bool) -> bool:
    """True only where a latent cell is repainted for sure, told in a fraction of the time that `latent_cells` takes.

    That is where a square is all to be repainted that holds whatever one cell is made of, wherever its grid lies: the
    bicubic window, 32 pixels at 8 a cell and fewer where a box is enlarged, the blur's reach beyond it, and a cell.
    """
    side = math.ceil((32 + 2 * int(2.5 * blur + 0.5) + _CELL + 1) / _CELL)
    high, wide = region.shape[0] // _CELL, region.shape[1] // _CELL
    if min(high, wide) < side:
        return False
    # Eight pixels of a row are one word, which numpy compares twenty times as fast as it asks all eight.
    words = np.ascontiguousarray(region[: high * _CELL, : wide * _CELL]).view(np.uint64).reshape(high, _CELL, wide)
    whole = (words == (0 if invert else _ALL_TRUE)).all(axis=1)
    sums = np.zeros((high + 1, wide + 1), np.int64)
    sums[1:, 1:] = whole.cumsum(axis=0).cumsum(axis=1)
    squares = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return bool((squares == side * side).any())


def sure_diameter(blur: int) -> int:
    """Pixels across, of a disc that keeps a latent cell wherever it lies: 2.36 sigma keep a Gaussian's centre over one
    half, and a cell's bicubic window is 16 pixels wide."""
    return math.ceil(2.5 * blur) + 16


def _reach(blur: int) -> int:
    """How far beyond a straight edge the blur leaves a level of one half or more of 255."""
    gauss = _gauss(blur)
    return int(np.count_nonzero(np.cumsum(gauss[: len(gauss) // 2]) * 255 >= 0.5))


def _box(region: NDArray[np.bool_], limits: tuple[int, int], margin: int) -> tuple[slice, slice]:
    """Rows and columns of "only masked" (A1111 v1.10.1, `modules/masking.py`): the region's extent with a margin, grown
    to the aspect of the picture, whose padded height and width are the `limits`."""
    spans, sizes = [], []
    for used, limit in zip((np.any(region, axis=1), np.any(region, axis=0)), limits, strict=True):
        extent = _extent(used)
        end = limit if extent.stop == len(used) else extent.stop  # what is padded repeats the last row or column
        spans.append((max(extent.start - margin, 0), min(end + margin, limit)))
        sizes.append(spans[-1][1] - spans[-1][0])
    share = max(size / limit for size, limit in zip(sizes, limits, strict=True))
    grown = []
    for (low, high), limit in zip(spans, limits, strict=True):
        length = max(int(share * limit), high - low)
        start = max(min(low - (length - (high - low)) // 2, limit - length), 0)
        grown.append(slice(start, min(start + length, limit)))
    return grown[0], grown[1]


def _shrinking(size: int, blur: int, window: slice, cells: int) -> NDArray[np.float32]:
    """Blur and scaling of one side: shape (cells, size); what is padded beyond `size` repeats the last pixel."""
    gauss = _gauss(blur)
    reach = len(gauss) // 2
    matrix = np.zeros((cells, size), np.float32)
    for cell in range(cells):
        start, weights = _bicubic(cell, cells, window)
        if start + len(weights) > size:
            start = min(start, size - 1)
            beyond = weights[size - start :].sum()
            weights = weights[: size - start].copy()
            weights[-1] += beyond
        taps = np.convolve(weights, gauss)
        first = start - reach
        if first >= 0 and first + len(taps) <= size:
            matrix[cell, first : first + len(taps)] = taps
        else:
            places = _reflected(np.arange(first, first + len(taps)), size)
            matrix[cell] = np.bincount(places, taps, size)
    return matrix


def _gauss(sigma: int) -> NDArray[np.float64]:
    if sigma == 0:
        return np.ones(1)
    radius = int(2.5 * sigma + 0.5)
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2.0 * sigma * sigma))
    return np.asarray(weights / weights.sum(), np.float64)


def _bicubic(cell: int, cells: int, window: slice) -> tuple[int, NDArray[np.float64]]:
    """First pixel and weights of one of so many cells that a window of the side is scaled to.

    Pillow's bicubic (a = -0.5), stretched by the scale where that is above 1, cut off at the window's borders. Where
    the window is enlarged first and then scaled down, as "only masked" does, this is that within the filters' ripple.
    """
    scale = (window.stop - window.start) / cells
    stretch, centre = max(scale, 1.0), window.start + (cell + 0.5) * scale
    start = max(window.start, int(centre - 2 * stretch + 0.5))
    stop = min(window.stop, int(centre + 2 * stretch + 0.5))
    x = np.abs(np.arange(start, stop) + 0.5 - centre) / stretch
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
