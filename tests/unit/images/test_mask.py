"""How much of a mask is left at latent resolution, and what a caller is told when it is nothing."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from orchestrator.errors import InvalidParameters
from orchestrator.images.mask import keeps_surely, latent_cells, require_latent_mask, sure_diameter
from orchestrator.images.picture import Mask


def as_mask(region: NDArray[np.bool_]) -> Mask:
    return Mask("mask", region.shape[1], region.shape[0], b"", "", region)


def step_by_step(region: NDArray[np.bool_], blur: int, invert: bool) -> NDArray[np.uint8]:
    """The latent mask as the rule is written: blur one way and the other in 8 bits, pad, shrink with Pillow."""
    mask = np.where(region ^ invert, 255, 0).astype(np.uint8)
    if blur:
        radius = int(2.5 * blur + 0.5)
        weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * blur**2))
        weights /= weights.sum()
        for axis in (1, 0):
            sides = [(0, 0), (0, 0)]
            sides[axis] = (radius, radius)
            wide = np.pad(mask.astype(float), sides, mode="reflect" if mask.shape[axis] > 1 else "edge")
            length = mask.shape[axis]
            mask = np.round(
                sum(weight * np.take(wide, range(i, i + length), axis=axis) for i, weight in enumerate(weights))
            ).astype(np.uint8)
    mask = np.pad(mask, ((0, -mask.shape[0] % 8), (0, -mask.shape[1] % 8)), mode="edge")
    small = Image.fromarray(mask).resize((mask.shape[1] // 8, mask.shape[0] // 8), Image.Resampling.BICUBIC)
    return np.around(np.asarray(small) / 255).astype(np.uint8)


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    shapes=st.lists(st.tuples(*[st.integers(-10, 90)] * 2, *[st.integers(1, 60)] * 2), max_size=4),
    blur=st.integers(0, 64),
    invert=st.booleans(),
)
def test_it_counts_the_cells_that_the_rule_step_by_step_leaves(
    size: tuple[int, int], shapes: list[tuple[int, int, int, int]], blur: int, invert: bool
) -> None:
    region = np.zeros(size, bool)
    for top, left, height, width in shapes:
        region[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)] = True
    expected = int(step_by_step(region, blur, invert).sum())
    # 8-bit rounding between the steps moves a cell on the threshold now and then, a straight row of them at most
    assert abs(latent_cells(region, blur=blur, invert=invert) - expected) <= 12


@pytest.mark.parametrize("blur", [0, 4, 16])
def test_random_blots_agree_to_a_few_cells_in_a_hundred(blur: int) -> None:
    blots = np.asarray(
        Image.fromarray(np.random.default_rng(3).integers(0, 256, (12, 16), np.uint8)).resize((509, 387))
    )
    for invert in (False, True):
        expected = int(step_by_step(blots > 150, blur, invert).sum())
        assert latent_cells(blots > 150, blur=blur, invert=invert) == pytest.approx(expected, abs=2 + expected * 0.003)


def test_the_figures_of_the_reference_hold() -> None:
    """What A1111's rule keeps of small masks, measured with Pillow 13."""
    y, x = np.mgrid[:512, :512]
    line = (y > 250) & (y <= 253)
    circle = (y - 256) ** 2 + (x - 256) ** 2 <= 20**2
    aligned = (y >= 256) & (y < 264)
    assert latent_cells(line, blur=0, invert=False) == 0
    assert [latent_cells(circle, blur=blur, invert=False) for blur in (4, 16)] == [16, 4]
    assert latent_cells(aligned, blur=16, invert=False) == 0
    assert latent_cells(aligned, blur=0, invert=False) == 64


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 64), st.floats(0, 1), st.floats(0, 1))
def test_a_disc_of_the_diameter_that_is_advised_always_survives(blur: int, right: float, down: float) -> None:
    diameter = sure_diameter(blur)
    side = diameter * 2
    centre_x, centre_y = diameter / 2 + right * diameter, diameter / 2 + down * diameter
    y, x = np.mgrid[:side, :side] + 0.5
    disc = (x - centre_x) ** 2 + (y - centre_y) ** 2 <= (diameter / 2) ** 2
    require_latent_mask(as_mask(disc), blur=blur, invert=False)


def complaint(region: NDArray[np.bool_], blur: int, invert: bool) -> str:
    with pytest.raises(InvalidParameters) as caught:
        require_latent_mask(as_mask(region), blur=blur, invert=invert)
    assert [error.field for error in caught.value.fields] == ["mask"]
    return caught.value.fields[0].message


def test_a_mask_that_repaints_nothing_says_what_to_do() -> None:
    empty = np.zeros((64, 64), bool)
    line = empty.copy()
    line[30:33] = True
    assert "no white pixel" in complaint(empty, 4, invert=False)
    assert "set it to 0" in complaint(~empty, 4, invert=True)
    assert "lower mask_blur (now 16)" in complaint(line, 16, invert=False)
    assert "draw it thicker; 16 pixels" in complaint(line, 0, invert=False)
    assert "black (inpainting_mask_invert is 1)" in complaint(~line, 8, invert=True)


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(st.integers(1, 160), st.integers(1, 160)),
    shapes=st.lists(st.tuples(*[st.integers(-10, 120)] * 2, *[st.integers(20, 120)] * 2), max_size=3),
    blur=st.integers(0, 8),
    invert=st.booleans(),
    padding=st.none() | st.integers(0, 64),
)
def test_what_is_kept_surely_is_kept(
    size: tuple[int, int], shapes: list[tuple[int, int, int, int]], blur: int, invert: bool, padding: int | None
) -> None:
    region = np.zeros(size, bool)
    for top, left, height, width in shapes:
        region[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)] = True
    if keeps_surely(region, blur=blur, invert=invert):
        assert latent_cells(region, blur=blur, invert=invert, padding=padding)


def test_a_mask_as_callers_draw_them_is_seen_to_be_kept_without_counting() -> None:
    region = np.zeros((512, 512), bool)
    region[150:350, 150:350] = True
    assert keeps_surely(region, blur=4, invert=False)
    assert keeps_surely(region, blur=4, invert=True)
    assert not keeps_surely(region, blur=64, invert=False)


def test_a_mask_that_repaints_something_passes() -> None:
    require_latent_mask(as_mask(np.ones((8, 8), bool)), blur=64, invert=False)
    require_latent_mask(as_mask(np.zeros((64, 64), bool)), blur=64, invert=True)


def test_twelve_megapixels_at_the_widest_blur_take_a_fraction_of_a_second() -> None:
    y, x = np.mgrid[:3000, :4000]
    region = (y - 1500) ** 2 + (x - 2000) ** 2 < 900**2
    times = []
    for _ in range(3):
        started = time.thread_time()  # what else the machine does must not count
        assert latent_cells(region, blur=64, invert=False) == pytest.approx(np.pi * 900**2 / 64, rel=0.01)
        times.append(time.thread_time() - started)
    assert min(times) < 0.25
