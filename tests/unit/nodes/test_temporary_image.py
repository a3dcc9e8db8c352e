"""The result's PNG: read back by Pillow, bare of metadata, few of them kept."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture
def hand_over(node, temporary_folder: Path):
    folder = temporary_folder / "orchestrator" / "out"
    for file in folder.glob("*"):
        file.unlink()

    def run(images: torch.Tensor) -> list[Path]:
        shown = node("A1111TemporaryImage").hand_over(images)["ui"]["images"]
        assert {(one["type"], one["subfolder"]) for one in shown} == {("temp", "orchestrator/out")}
        return [folder / one["filename"] for one in shown]

    return run


def read(file: Path) -> np.ndarray:
    with Image.open(file) as opened:
        assert opened.mode == "RGB"
        assert not opened.info
        return np.asarray(opened)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_picture_that_is_no_numbers_is_a_failure_and_not_black(hand_over, picture, value):
    images = picture(8, 8)
    images[0, 3, 4, 1] = value
    with pytest.raises(ValueError, match="no numbers"):
        hand_over(images)


@pytest.mark.parametrize(("height", "width"), [(30, 41), (1, 1), (600, 700)])
def test_png_holds_the_picture(hand_over, picture, height, width):
    images = torch.cat([picture(height, width, 1), picture(height, width, 2)])
    files = hand_over(images)
    assert len(files) == 2
    for file, image in zip(files, images, strict=True):
        assert np.array_equal(read(file), (image.numpy() * 255).round())


def test_every_level_survives_the_way_from_file_to_file(hand_over):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    loaded = torch.from_numpy(levels.astype(np.float32) / 255.0)
    assert np.array_equal(read(hand_over(loaded[None])[0]), levels)


def test_levels_in_between_are_cut_and_those_beyond_are_clamped(hand_over):
    image = torch.tensor([10.9 / 255, 1.7, -0.2]).reshape(1, 1, 1, 3)
    assert read(hand_over(image)[0]).tolist() == [[[10, 255, 0]]]


def test_alpha_is_left_out(hand_over):
    assert read(hand_over(torch.ones(1, 2, 2, 4))[0]).shape == (2, 2, 3)


def test_only_the_newest_two_hundred_files_are_kept(hand_over, temporary_folder):
    first = hand_over(torch.zeros(150, 1, 1, 3))
    second = hand_over(torch.zeros(120, 1, 1, 3))
    assert all(file.exists() for file in second)
    assert sum(file.exists() for file in first) == 80
    many = hand_over(torch.zeros(230, 1, 1, 3))
    assert all(file.exists() for file in many)
    assert len(list((temporary_folder / "orchestrator" / "out").iterdir())) == 230


def test_node_is_never_taken_from_the_cache(pack):
    assert math.isnan(pack.NODE_CLASS_MAPPINGS["A1111TemporaryImage"].IS_CHANGED(images=None))
