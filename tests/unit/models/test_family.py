"""The markers of each family, as the UNets of those families have them."""

import pytest

from orchestrator.models.family import checkpoint_kind, missing_parts, prediction, trouble
from orchestrator.models.header import Header

U = "model.diffusion_model."
FIRST = U + "input_blocks.0.0.weight"


def header(**shapes: list[int]) -> Header:
    return Header({name: tuple(shape) for name, shape in shapes.items()}, {})


def checkpoint(channels: int, block: str, width: int, context: int, first: int = 320) -> Header:
    attention = f"{U}input_blocks.{block}.transformer_blocks.0.attn2.to_k.weight"
    return header(**{FIRST: [first, channels, 3, 3], attention: [width, context]})


@pytest.mark.parametrize(
    ("head", "family", "channels", "runs"),
    [
        (checkpoint(4, "1.1", 320, 768), "sd15", 4, True),
        (checkpoint(9, "1.1", 320, 768), "sd15", 9, True),
        (checkpoint(8, "1.1", 320, 768), "sd15", 8, False),
        (checkpoint(4, "3.1", 320, 768), "sd15", 4, True),
        (checkpoint(4, "4.1", 640, 2048), "sdxl", 4, True),
        (checkpoint(9, "4.1", 640, 2048), "sdxl", 9, True),
        (checkpoint(4, "1.1", 320, 1024), "sd2", 4, False),
        (checkpoint(4, "4.1", 768, 1280, 384), "sdxl-refiner", 4, False),
    ],
)
def test_a_checkpoints_kind_is_told_by_its_unet(head: Header, family: str, channels: int, runs: bool) -> None:
    kind = checkpoint_kind(head)
    assert kind is not None
    assert (kind.family, kind.channels) == (family, channels)
    assert (trouble(kind) is None) == runs


@pytest.mark.parametrize(
    "head", [header(), header(**{"conv_in.weight": [320, 4, 3, 3]}), header(**{FIRST: [320, 4]}), header(**{FIRST: []})]
)
def test_what_is_no_single_file_checkpoint_has_no_kind(head: Header) -> None:
    assert checkpoint_kind(head) is None


def test_missing_parts_are_named() -> None:
    assert missing_parts(checkpoint(4, "1.1", 320, 768)) == ("VAE", "text encoder")
    whole = header(**{"first_stage_model.x": [1], "conditioner.embedders.0.x": [1]})
    assert missing_parts(whole) == ()


@pytest.mark.parametrize(
    ("marks", "says"),
    [
        ({}, "eps"),
        ({"v_pred": [0]}, "v"),
        ({"v_pred": [0], "ztsnr": [0]}, "v"),
        ({"edm_mean": [4], "edm_std": [4]}, "edm"),
        ({"edm_mean": [4]}, "eps"),
        ({"edm_vpred.sigma_max": [1], "edm_mean": [4], "edm_std": [4]}, "edm"),
        ({"edm_vpred.sigma_max": [1]}, "edm-v"),
    ],
)
def test_what_a_unet_predicts_is_told_by_its_marks(marks: dict[str, list[int]], says: str) -> None:
    assert prediction(header(**marks)) == says
