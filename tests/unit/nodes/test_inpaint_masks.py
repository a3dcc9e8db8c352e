"""Mask preparation against a plain float64 restatement of A1111's rules."""

import numpy as np
import pytest
import torch
from PIL import Image


def blurred_levels(binary: np.ndarray, sigma: int) -> np.ndarray:
    """Direct convolution, rows then columns, mirrored border, rounded after each pass."""
    if sigma == 0:
        return binary.astype(float)
    radius = int(2.5 * sigma + 0.5)
    weights = [np.exp(-(i * i) / (2 * sigma * sigma)) for i in range(-radius, radius + 1)]
    weights = np.array(weights) / np.sum(weights)
    levels = binary.astype(float)
    for axis in (1, 0):
        border = [(0, 0), (0, 0)]
        border[axis] = (radius, radius)
        mirrored = np.pad(levels, border, mode="reflect")
        length = levels.shape[axis]
        taken = (weight * mirrored.take(range(i, i + length), axis) for i, weight in enumerate(weights))
        levels = np.rint(sum(taken))
    return levels


def cubic(x: float) -> float:
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def eighth(levels: np.ndarray) -> np.ndarray:
    """Bicubic (a = -0.5) to an eighth of the size, the kernel widened by 8, rounded after each pass."""
    for axis in (1, 0):
        length = levels.shape[axis]
        rows = []
        for cell in range(length // 8):
            centre = (cell + 0.5) * 8
            weights = np.array(
                [cubic((i + 0.5 - centre) / 8) if abs(i + 0.5 - centre) < 16 else 0 for i in range(length)]
            )
            rows.append(weights / weights.sum())
        levels = np.moveaxis(np.tensordot(np.array(rows), levels, (1, axis)), 0, axis)
        levels = np.clip(np.floor(levels + 0.5), 0, 255)
    return levels


def padded(levels: np.ndarray, mode: str = "edge") -> np.ndarray:
    return np.pad(levels, ((0, -levels.shape[0] % 8), (0, -levels.shape[1] % 8)), mode)


def blob(height: int, width: int) -> torch.Tensor:
    """A mask with a concave corner, a hole, and a piece at the border."""
    mask = torch.zeros(height, width)
    mask[height // 6 : height // 2, width // 6 : 5 * width // 6] = 1
    mask[height // 6 : 5 * height // 6, width // 6 : width // 2] = 1
    mask[height // 3 : height // 3 + 2, width // 3 : width // 3 + 2] = 0
    mask[-2:, -3:] = 1
    return mask


@pytest.mark.parametrize("invert", [0, 1])
@pytest.mark.parametrize("sigma", [0, 1, 4, 16, 64])
@pytest.mark.parametrize(("height", "width"), [(96, 128), (61, 83), (8, 8), (3, 40), (1, 1), (200, 17)])
def test_masks_follow_the_stated_rule(node, picture, height, width, sigma, invert):
    mask = blob(height, width)
    image, cells, overlay, blurred = node("A1111InpaintMasks").prepare(
        picture(height, width), mask[None], sigma, invert
    )

    binary = (1 - mask.numpy() if invert else mask.numpy()) * 255
    expected = padded(blurred_levels(binary, sigma))
    levels = (blurred[0] * 255).round().numpy()
    assert image.shape[1:3] == expected.shape
    difference = np.abs(levels - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.002  # float32 against float64, at an exact half

    reduced = eighth(expected)
    decided = np.abs(reduced - 127.5) > 2
    assert cells.shape[1:] == reduced.shape
    assert set(cells.unique().tolist()) <= {0.0, 1.0}
    assert np.array_equal(cells[0].numpy()[decided], (reduced > 127.5)[decided])

    feather = np.where(padded(binary, "constant") > 0, np.clip(2 * levels - 255, 0, 255), 0)
    assert np.allclose(overlay[0].numpy() * 255, feather, atol=1e-3)


def test_without_blur_the_masks_are_hard(node, picture):
    mask = blob(64, 64)
    _, _, overlay, blurred = node("A1111InpaintMasks").prepare(picture(64, 64), mask[None], 0, 0)
    assert torch.equal(overlay[0], mask)
    assert torch.equal(blurred[0], mask)


@pytest.mark.parametrize("sigma", [1, 4, 16, 64])
def test_overlay_is_zero_outside_the_mask_even_in_concave_corners(node, picture, sigma):
    mask = torch.ones(120, 120)
    mask[50:70, 50:70] = 0
    _, _, overlay, blurred = node("A1111InpaintMasks").prepare(picture(120, 120), mask[None], sigma, 0)
    assert sigma < 16 or (blurred[0][mask == 0] > 0.5).any(), "the corner case is not there"
    assert (overlay[0][mask == 0] == 0).all()


def test_picture_is_padded_by_its_last_row_and_column(node, picture):
    image = picture(13, 18)
    padded_image = node("A1111InpaintMasks").prepare(image, torch.ones(1, 13, 18), 4, 0)[0]
    expected = np.pad(image.numpy(), ((0, 0), (0, 3), (0, 6), (0, 0)), mode="edge")
    assert np.array_equal(padded_image.numpy(), expected)


@pytest.mark.parametrize("side", range(65, 73))
def test_the_last_cell_is_repainted_however_few_of_its_pixels_the_picture_has(node, picture, side):
    _, cells, overlay, _ = node("A1111InpaintMasks").prepare(picture(side, side), torch.ones(1, side, side), 0, 0)
    assert cells.all()
    assert overlay[0, :side, :side].all()
    assert not overlay[0, side:].any()
    assert not overlay[0, :, side:].any()


def test_mask_takes_the_size_of_the_picture_before_it_is_blurred(node, picture):
    small = torch.zeros(1, 32, 32)
    small[:, 8:24, 8:24] = 1
    large = small.repeat_interleave(4, 1).repeat_interleave(4, 2)
    from_small = node("A1111InpaintMasks").prepare(picture(128, 128), small, 8, 0)
    from_large = node("A1111InpaintMasks").prepare(picture(128, 128), large, 8, 0)
    assert (from_small[3] - from_large[3]).abs().mean() < 0.005
    assert torch.equal(from_small[1], from_large[1])
    stretched = Image.fromarray((small[0].numpy() * 255).astype(np.uint8)).resize((128, 128), Image.Resampling.LANCZOS)
    hard = node("A1111InpaintMasks").prepare(picture(128, 128), small, 0, 0)[3]
    assert np.array_equal(hard[0].numpy() > 0, np.asarray(stretched) > 127)


def test_grey_is_cut_at_one_half(node, picture):
    grey = (torch.arange(256, dtype=torch.float32) / 255).reshape(1, 16, 16)
    blurred = node("A1111InpaintMasks").prepare(picture(16, 16), grey, 0, 0)[3]
    assert torch.equal(blurred.flatten(), (torch.arange(256) >= 128).float())


def test_one_mask_serves_all_pictures_and_spare_masks_are_left_out(node, picture):
    prepare = node("A1111InpaintMasks").prepare
    pictures = torch.cat([picture(32, 32, seed) for seed in range(3)])
    masks = torch.stack([torch.zeros(32, 32), torch.ones(32, 32)])
    assert [one.shape[0] for one in prepare(pictures, masks[:1], 4, 0)] == [3, 3, 3, 3]
    assert [level.mean() for level in prepare(pictures, masks, 4, 0)[3]] == [0, 1, 0]
    assert [level.mean() for level in prepare(pictures[:1], masks, 4, 0)[3]] == [0]


def test_inputs_are_left_as_they_are(node, picture):
    image, mask = picture(40, 40), blob(40, 40)[None]
    before = image.clone(), mask.clone()
    node("A1111InpaintMasks").prepare(image, mask, 4, 1)
    assert torch.equal(image, before[0])
    assert torch.equal(mask, before[1])
