"""Crop and paste against a plain restatement of WebUI's "only masked": loops for the box, Lanczos in floats."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def stated_box(mask: NDArray[np.uint8], padding: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom: every masked pixel with its padding, then grown pixel by pixel to the aspect."""
    height, width = mask.shape
    rows = [y for y in range(height) if mask[y].any()]
    columns = [x for x in range(width) if mask[:, x].any()]
    if not rows:
        return 0, 0, width, height
    left, right = max(columns[0] - padding, 0), min(columns[-1] + 1 + padding, width)
    top, bottom = max(rows[0] - padding, 0), min(rows[-1] + 1 + padding, height)
    if Fraction(right - left, bottom - top) > Fraction(width, height):
        missing = int((right - left) / (width / height) - (bottom - top))  # in floats, as there
        top, bottom = top - missing // 2, bottom + missing - missing // 2
        while bottom > height:
            top, bottom = top - 1, bottom - 1
        while top < 0:
            top, bottom = top + 1, bottom + 1
        bottom = min(bottom, height)
    else:
        missing = int((bottom - top) * (width / height) - (right - left))
        left, right = left - missing // 2, right + missing - missing // 2
        while right > width:
            left, right = left - 1, right - 1
        while left < 0:
            left, right = left + 1, right + 1
        right = min(right, width)
    return left, top, right, bottom


def lanczos_matrix(size: int, target: int) -> Floats:
    """Three lobes, stretched when it scales down; cut off at the borders and normalised."""
    scale = size / target
    stretch = max(scale, 1)
    centres = (np.arange(target) + 0.5) * scale
    places = np.arange(size) + 0.5
    x = (places[None] - centres[:, None]) / stretch
    weights = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    return weights / weights.sum(1, keepdims=True)


def lanczos(levels: Floats, width: int, height: int) -> Floats:
    across, down = lanczos_matrix(levels.shape[1], width), lanczos_matrix(levels.shape[0], height)
    narrow = np.clip(np.round(np.einsum("xw,hwc->hxc", across, levels)), 0, 255)
    return np.clip(np.round(np.einsum("yh,hxc->yxc", down, narrow)), 0, 255)


def stated_crop(levels: Floats, box: tuple[int, int, int, int], width: int, height: int) -> tuple[Floats, slice, slice]:
    """The box fitted into the size, and where in it (what is left over is the edge carried on)."""
    left, top, right, bottom = box
    part = levels[top:bottom, left:right]
    if Fraction(width, height) < Fraction(part.shape[1], part.shape[0]):
        wide, high = width, part.shape[0] * width // part.shape[1]
    else:
        wide, high = part.shape[1] * height // part.shape[0], height
    x, y = width // 2 - wide // 2, height // 2 - high // 2
    return lanczos(part, wide, high), slice(y, y + high), slice(x, x + wide)


def stated_paste(levels: Floats, box: tuple[int, int, int, int], width: int, height: int) -> Floats:
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    if Fraction(wide, high) > Fraction(levels.shape[1], levels.shape[0]):
        over = lanczos(levels, wide, levels.shape[0] * wide // levels.shape[1])
    else:
        over = lanczos(levels, levels.shape[1] * high // levels.shape[0], high)
    x, y = over.shape[1] // 2 - wide // 2, over.shape[0] // 2 - high // 2
    whole = np.zeros((height, width, 3))
    whole[top:bottom, left:right] = over[y : y + high, x : x + wide]
    return whole


def levels_of(tensor: torch.Tensor) -> Floats:
    return (tensor.double() * 255).round().numpy()


def blot(height: int, width: int, box: tuple[int, int, int, int]) -> torch.Tensor:
    mask = torch.zeros(1, height, width)
    left, top, right, bottom = box
    mask[:, top:bottom, left:right] = 1
    return mask


@pytest.fixture
def prepared(node):
    """Picture and mask to what A1111 Inpaint Masks gives and to what A1111 Inpaint Crop makes of it."""

    def make(image, mask, padding=32, blur=4, feather="inside"):
        masks = node("A1111InpaintMasks").prepare(image, mask, blur, 0, feather)
        return masks, node("A1111InpaintCrop").crop(*masks, padding, feather)

    return make


BLOTS = [
    (96, 128, (50, 40, 70, 52), 8),  # in the middle
    (96, 128, (0, 0, 9, 30), 16),  # in a corner
    (96, 128, (120, 90, 128, 96), 32),  # in the other corner
    (96, 128, (10, 60, 118, 68), 0),  # wide and flat, at no padding
    (200, 56, (30, 20, 34, 180), 5),  # tall and thin
    (77, 101, (60, 30, 80, 60), 10),  # a size that is no multiple of 8
    (77, 101, (95, 70, 101, 77), 10),  # and a mask at its padded border
    (64, 64, (0, 0, 64, 64), 32),  # all of it
]


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(*[st.floats(0, 0.999)] * 4),
    st.integers(0, 60),
)
def test_the_box_is_the_stated_one(pack, size, corners, padding):
    height, width = (8 * side for side in size)
    (x, right), (y, bottom) = sorted(corners[:2]), sorted(corners[2:])
    mask = np.zeros((height, width), np.uint8)
    mask[int(y * height) : int(bottom * height) + 1, int(x * width) : int(right * width) + 1] = 1
    box = pack.crop.box_of(torch.from_numpy(mask) / 255, padding)
    assert box == stated_box(mask, padding)
    left, top, right, bottom = box
    assert mask[top:bottom, left:right].sum() == mask.sum(), "nothing masked lies outside"
    assert math.isclose((right - left) / (bottom - top), width / height, rel_tol=2 / min(right - left, bottom - top))


def test_what_rounds_to_no_level_is_not_in_the_box(pack):
    mask = torch.zeros(64, 64)
    mask[8, 8], mask[40, 48] = 0.4 / 255, 0.6 / 255
    assert pack.crop.box_of(mask, 0) == (48, 40, 49, 41)
    assert pack.crop.box_of(mask.clamp(max=0.4 / 255), 0) == (0, 0, 64, 64)


@pytest.mark.parametrize("size", [(250, 330), (60, 45), (97, 31), (61, 200)])
def test_lanczos_is_pillows_but_for_close_calls(pack, picture, size):
    levels = (picture(61, 97)[0] * 255).round().to(torch.uint8)
    for given_ in (levels, levels[..., 0]):
        stated = pack.lanczos._by_pillow(given_, *size).int()
        assert stated.shape == (size[1], size[0], *given_.shape[2:])
        apart = (pack.lanczos.resized(given_, *size) - stated).abs()
        assert apart.max() <= 2
        assert (apart > 0).float().mean() <= 0.015
        assert (apart > 1).float().mean() <= 1e-4


@pytest.mark.parametrize("size", [(250, 330), (60, 45), (97, 31), (1, 3)])
def test_a_plane_is_resized_as_a_channel_of_a_picture_is(pack, picture, size):
    levels = (picture(61, 97)[0] * 255).round().to(torch.uint8)
    whole = pack.lanczos.resized(levels, *size)
    for channel in range(3):
        assert torch.equal(pack.lanczos.resized(levels[..., channel], *size), whole[..., channel])


def test_a_torch_without_lanczos_leaves_it_to_pillow(pack, monkeypatch):
    def interpolate(*_, mode, **__):
        raise ValueError(f"Anti-alias option is only supported for bilinear and bicubic modes, not {mode}")

    assert pack.lanczos.resized is pack.lanczos._by_torch
    monkeypatch.setattr(pack.lanczos, "interpolate", interpolate)
    assert not pack.lanczos._torch_can()


@pytest.mark.parametrize(("height", "width", "box", "padding"), BLOTS)
def test_the_box_is_enlarged_to_the_pictures_size_by_lanczos(prepared, picture, height, width, box, padding):
    masks, crop = prepared(picture(height, width), blot(height, width, box), padding)
    blurred = levels_of(masks[3][0]).astype(np.uint8)
    high, wide = blurred.shape
    where = stated_box(blurred, padding)
    for given_, made in ((masks[0][0], crop[0][0]), (masks[3][0][..., None], crop[3][0][..., None])):
        expected, rows, columns = stated_crop(levels_of(given_), where, wide, high)
        got = levels_of(made)
        assert got.shape[:2] == (high, wide)
        apart = np.abs(got[rows, columns] - expected)
        assert apart.max() <= 2
        assert (apart > 0).mean() <= 0.02
        assert high - expected.shape[0] <= 3
        assert wide - expected.shape[1] <= 3
        edges = np.pad(expected, ((rows.start, high - rows.stop), (columns.start, wide - columns.stop), (0, 0)), "edge")
        assert np.abs(got - edges).max() <= 48, "what is left over carries the edge on"


@pytest.mark.parametrize(("height", "width", "box", "padding"), BLOTS)
def test_the_latent_mask_is_that_of_the_enlarged_mask(prepared, picture, height, width, box, padding):
    masks, crop = prepared(picture(height, width), blot(height, width, box), padding, blur=1)
    assert crop[1].shape == masks[1].shape
    blocks = levels_of(crop[3][0]).reshape(crop[1].shape[1], 8, crop[1].shape[2], 8)
    assert crop[1].any()
    assert (crop[1][0].numpy()[blocks.min((1, 3)) > 200] == 1).all()
    assert (crop[1][0].numpy()[blocks.max((1, 3)) < 55] == 0).all()


@pytest.mark.parametrize("feather", ["inside", "outside"])
@pytest.mark.parametrize(("height", "width", "box", "padding"), BLOTS)
def test_what_was_painted_comes_back_to_its_place(node, prepared, picture, height, width, box, padding, feather):
    image = picture(height, width)
    masks, crop = prepared(image, blot(height, width, box), padding, feather=feather)
    # Without values near the ends: which of the two passes cuts them off differs between versions of Pillow.
    painted = 0.1 + 0.75 * picture(*crop[0].shape[1:3], seed=8) + 0.001
    (pasted,) = node("A1111InpaintPaste").paste(painted, masks[3], padding)
    blurred = levels_of(masks[3][0]).astype(np.uint8)
    cut = np.floor(painted[0].clamp(0, 1).double().numpy() * 255 + 1e-4)
    expected = stated_paste(cut, stated_box(blurred, padding), blurred.shape[1], blurred.shape[0])
    assert np.abs(levels_of(pasted[0]) - expected).max() <= 1
    overlay = crop[2][0][:height, :width, None]
    result = image[0] * (1 - overlay) + pasted[0][:height, :width] * overlay
    kept = (
        (blot(height, width, box)[0] == 0) if feather == "inside" else torch.from_numpy(blurred[:height, :width] == 0)
    )
    assert torch.equal(result[kept], image[0][kept]), "what is not masked stays to the bit"


def test_the_overlay_fades_to_both_sides_of_the_edge_where_webui_does(prepared, picture):
    image, mask = picture(96, 128), blot(96, 128, (50, 40, 70, 60))
    masks, crop = prepared(image, mask, feather="outside")
    assert torch.equal(crop[2], masks[3]), "the blurred mask itself, not doubled as for the whole picture"
    masks, crop = prepared(image, mask, feather="inside")
    assert torch.equal(crop[2], masks[2])


def test_levels_are_cut_not_rounded_and_what_lies_outside_them_too(node):
    white = torch.ones(1, 8, 8)
    painted = torch.tensor([-0.5, 100.9 / 255, 1.5]).expand(1, 8, 8, 3)
    (pasted,) = node("A1111InpaintPaste").paste(painted, white, 0)
    assert (levels_of(pasted[0]) == np.array([0, 100, 255])).all()


def test_an_empty_mask_shows_nothing_of_what_was_painted(node, prepared, picture):
    image = picture(40, 48)
    masks, crop = prepared(image, torch.zeros(1, 40, 48))
    assert torch.equal(crop[0], image)
    assert not crop[1].any()
    assert not crop[2].any()
    (pasted,) = node("A1111InpaintPaste").paste(torch.ones(1, 40, 48, 3), masks[3], 32)
    assert torch.equal(pasted, torch.ones(1, 40, 48, 3))


def test_each_picture_of_a_batch_has_a_box_of_its_own(node, prepared, picture):
    images = torch.cat([picture(64, 64, 1), picture(64, 64, 2)])
    mask = torch.cat([blot(64, 64, (4, 4, 20, 20)), blot(64, 64, (40, 44, 60, 60))])
    masks, crop = prepared(images, mask, 4)
    (pasted,) = node("A1111InpaintPaste").paste(crop[0], masks[3], 4)
    for turn in range(2):
        alone_masks, alone = prepared(images[turn : turn + 1], mask[turn : turn + 1], 4)
        assert all(torch.equal(one[turn], other[0]) for one, other in zip(crop, alone, strict=True))
        (back,) = node("A1111InpaintPaste").paste(alone[0], alone_masks[3], 4)
        assert torch.equal(pasted[turn], back[0])


def test_a_mask_of_another_size_is_named(node, picture):
    ones = torch.ones(1, 8, 8)
    with pytest.raises(ValueError, match="the mask is 8x8 but the picture 64x40"):
        node("A1111InpaintCrop").crop(picture(40, 64), ones, ones, ones, 32, "inside")
