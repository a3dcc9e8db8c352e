"""The markers of each family, as the UNets of those families have them."""

import pytest

from orchestrator.models.family import checkpoint_kind, is_lora, lora_family, missing_parts, trouble
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
    ("name", "shape", "family"),
    [
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight", [4, 768], "sd15"),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight", [4, 2048], "sdxl"),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v.lora_A.weight", [4, 2048], "sdxl"),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora.down.weight", [4, 768], "sd15"),
        ("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.hada_w1_b", [4, 1024], "sd2"),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", [4, 1280], "sdxl"),
        ("lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight", [4, 768], "sd15"),
        ("lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight", [4, 1024], "sd2"),
        ("lora_unet_conv_in.lora_down.weight", [4, 4, 3, 3], None),
    ],
)
def test_a_loras_family_is_told_by_what_it_reads(name: str, shape: list[int], family: str | None) -> None:
    head = header(**{name: shape})
    assert lora_family(head) == family
    assert is_lora(head)


def test_a_checkpoint_is_no_lora() -> None:
    assert not is_lora(checkpoint(4, "1.1", 320, 768))
