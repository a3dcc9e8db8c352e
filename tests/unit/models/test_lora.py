"""LoRA headers in every layout that ComfyUI reads, as the tools that make them write them."""

import time

import pytest

from orchestrator.models.header import Header
from orchestrator.models.lora import is_lora, lora_family

KOHYA_15 = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
KOHYA_XL = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
PEFT = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v"
TE = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"


def header(shapes: dict[str, list[int]], metadata: dict[str, str] | None = None) -> Header:
    return Header({name: tuple(shape) for name, shape in shapes.items()}, metadata or {})


@pytest.mark.parametrize(
    ("shapes", "family"),
    [
        # 1. what the cross-attention reads
        ({KOHYA_15 + ".lora_down.weight": [4, 768]}, "sd15"),
        ({KOHYA_XL + ".lora_down.weight": [4, 2048]}, "sdxl"),
        ({KOHYA_15 + ".lora_down.weight": [4, 1024]}, "sd2"),
        ({KOHYA_XL + ".lora_down.weight": [4, 1280]}, "sdxl-refiner"),
        ({KOHYA_15 + ".lora_down.weight": [4, 768, 1, 1]}, "sd15"),
        ({PEFT + ".lora_A.weight": [4, 2048]}, "sdxl"),
        ({PEFT + ".lora_A.default.weight": [4, 768]}, "sd15"),
        ({PEFT + ".lora.down.weight": [4, 768]}, "sd15"),
        ({PEFT + "_lora.down.weight": [4, 768]}, "sd15"),
        ({PEFT + ".lora_linear_layer.down.weight": [4, 2048]}, "sdxl"),
        ({KOHYA_15 + ".hada_w1_b": [4, 1024]}, "sd2"),
        ({KOHYA_XL + ".hada_w1_b": [8, 2048]}, "sdxl"),
        ({KOHYA_15 + ".lokr_w1": [4, 8], KOHYA_15 + ".lokr_w2": [80, 96]}, "sd15"),
        ({KOHYA_XL + ".lokr_w1_b": [4, 16], KOHYA_XL + ".lokr_w2_b": [4, 128]}, "sdxl"),
        ({KOHYA_15 + ".diff": [320, 768]}, "sd15"),
        ({"lycoris_" + PEFT.replace(".", "_") + ".lora_down.weight": [4, 2048]}, "sdxl"),
        ({KOHYA_15 + ".lora_down.weight": [4, 555]}, "context-555"),
        # the same, said by the cross-attention against what the names would say
        ({KOHYA_XL + ".lora_down.weight": [4, 768]}, "sd15"),
        # 2. the text encoders
        ({"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": [4, 1280]}, "sdxl"),
        ({"text_encoder_2.text_model.encoder.layers.0.mlp.fc1.lora_A.weight": [4, 1280]}, "sdxl"),
        ({TE + ".lora_down.weight": [4, 768]}, "sd15"),
        ({TE + ".lora_down.weight": [4, 1024]}, "sd2"),
        # 3. blocks
        ({"lora_unet_mid_block_attentions_0_transformer_blocks_7_attn1_to_q.lora_down.weight": [4, 1280]}, "sdxl"),
        ({"lora_unet_input_blocks_1_0_in_layers_2.lora_down.weight": [4, 320, 3, 3]}, "sdxl"),
        # those that are of no family that runs here
        ({"lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": [4, 3072]}, "flux"),
        ({"transformer.single_transformer_blocks.3.attn.to_k.lora_A.weight": [4, 3072]}, "flux"),
        ({"transformer.transformer_blocks.3.attn.to_k.lora_A.weight": [4, 1536]}, "sd3"),
        # nothing tells
        ({"lora_unet_conv_in.lora_down.weight": [4, 4, 3, 3]}, None),
        ({"lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": [4, 768]}, None),
        ({"text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight": [4, 768]}, None),
        ({KOHYA_15 + ".lokr_w1": [4, 8]}, None),
    ],
)
def test_a_loras_family_is_told_by_its_tensors(shapes: dict[str, list[int]], family: str | None) -> None:
    assert lora_family(header(shapes)) == family
    assert is_lora(header(shapes))


UNTOLD = {"lora_unet_conv_in.lora_down.weight": [4, 4, 3, 3]}


@pytest.mark.parametrize(
    ("metadata", "family"),
    [
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "sdxl"),
        ({"ss_base_model_version": "sd_v1"}, "sd15"),
        ({"ss_base_model_version": "sd_v2"}, "sd2"),
        ({"ss_v2": "True"}, "sd2"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "sdxl"),
        ({"modelspec.architecture": "stable-diffusion-v1/lora"}, "sd15"),
        ({"modelspec.architecture": "flux-1-dev/lora"}, "flux"),
        ({"ss_base_model_version": "something else"}, None),
        ({}, None),
    ],
)
def test_words_count_only_where_tensors_do_not_tell(metadata: dict[str, str], family: str | None) -> None:
    assert lora_family(header(UNTOLD, metadata)) == family
    told = {KOHYA_15 + ".lora_down.weight": [4, 768]}
    assert lora_family(header(told, metadata)) == "sd15"


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"model.embed.weight": [1, 2]},
        {"transformer.h.0.attn.weight": [4, 4]},
        {
            "model.diffusion_model.input_blocks.0.0.weight": [320, 4, 3, 3],
            "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [320, 768],
        },
    ],
)
def test_other_files_are_no_loras(shapes: dict[str, list[int]]) -> None:
    assert not is_lora(header(shapes))


def test_a_name_made_to_be_searched_for_long_is_not() -> None:
    name = "lora_te_" + "self_attn" * 5000
    started = time.process_time()
    assert lora_family(header({name: [4, 768]})) is None
    assert time.process_time() - started < 0.5  # a search that starts anew at each `self_attn` takes seconds
