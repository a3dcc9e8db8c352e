"""The demo model's parts against stock programs and against what they are said to be."""

import random
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file
from torch import Tensor

from orchestrator.demo_model import unet, vae
from orchestrator.demo_model.build import WORD_SWAPS, build
from orchestrator.demo_model.judge import CELL, cells_of, judge
from orchestrator.demo_model.world import COLOURS, SPRITE_CELLS, SPRITES, scene
from orchestrator.embedded.tokenizer import clip_tokenizer
from orchestrator.models.family import checkpoint_kind, missing_parts
from orchestrator.models.header import header_length, parse_header
from orchestrator.models.lora import is_lora, lora_family


def stock_taesd() -> AutoencoderTiny:
    model = AutoencoderTiny()
    names = {"taesd_encoder": "encoder.layers", "taesd_decoder": "decoder.layers"}
    state = {}
    for name, tensor in vae.build().items():
        side, _, rest = name.partition(".")
        if side == "taesd_decoder":  # diffusers does the clamp outside and counts from the first convolution
            first, _, last = rest.partition(".")
            rest = f"{int(first) - 1}.{last}"
        if side in names:
            state[f"{names[side]}.{rest}"] = tensor
    model.load_state_dict(state)
    return model.eval()


def tiles(cells: int = 6) -> Tensor:
    colours = torch.rand(1, 3, cells, cells, generator=torch.Generator().manual_seed(1))
    return colours.repeat_interleave(8, 2).repeat_interleave(8, 3)


def test_the_autoencoder_gives_back_tiles_of_one_colour() -> None:
    with torch.no_grad():
        model = stock_taesd()
        latent = model.encode(tiles() * 2 - 1).latents
        torch.testing.assert_close(latent, vae.to_latent(tiles()[:, :, ::8, ::8]), atol=1e-4, rtol=0)
        back = (model.decode(latent).sample + 1) / 2
    torch.testing.assert_close(back, tiles(), atol=1e-3, rtol=0)


def test_expanding_keeps_every_weight_and_adds_zeros() -> None:
    narrow = {name: torch.randn_like(value) for name, value in unet.NarrowUNet().state_dict().items()}
    full = unet.expand(narrow)
    assert full.keys() == narrow.keys()
    for name, tensor in full.items():
        torch.testing.assert_close(tensor.square().sum(), narrow[name].square().sum())
    assert full["input_blocks.0.0.weight"].shape == (320, 4, 3, 3)
    assert full["middle_block.1.transformer_blocks.0.attn2.to_k.weight"].shape == (320, 768)
    assert full["output_blocks.0.0.skip_connection.weight"].shape == (320, 640, 1, 1)


def test_sprites_differ_in_at_least_16_of_their_100_cells() -> None:
    for (_, one), (_, other) in combinations(SPRITES.items(), 2):
        assert one.shape == (SPRITE_CELLS, SPRITE_CELLS)
        assert (one ^ other).sum() >= 16


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("shape", SPRITES)
def test_the_judge_sees_what_is_drawn(colour: str, shape: str) -> None:
    ground = COLOURS["white" if colour != "white" else "black"]
    picture = np.empty((12, 12, 3), np.uint8)
    picture[:] = ground
    picture[1:11, 0:10][SPRITES[shape]] = COLOURS[colour]
    pixels = picture.repeat(CELL, 0).repeat(CELL, 1)
    verdict = judge(cells_of(pixels), ground)
    assert (verdict.colour, verdict.shape) == (colour, shape)


def test_the_judge_is_not_impressed_by_noise() -> None:
    draw = np.random.default_rng(2)
    grounds = [COLOURS["white"]] * 40
    seen = [judge(draw.uniform(0, 255, (12, 12, 3)).astype(np.float32), ground) for ground in grounds]
    assert sum((verdict.colour, verdict.shape) == ("red", "heart") for verdict in seen) <= 4


@pytest.mark.parametrize("cells", [16, 24, 32])
def test_a_scene_shows_what_its_caption_says(cells: int) -> None:
    rng = random.Random(3)
    named = 0
    for _ in range(40):
        picture, caption = scene(rng, cells, ease=1.0)
        words = caption.split()
        verdict = judge(picture.astype(np.float32), COLOURS[words[5]])
        named += (verdict.colour, verdict.shape) == (words[1], words[2])
    assert named >= 38


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    build(folder)
    return folder


def test_the_files_are_what_the_service_takes_for_sd15(built: Path) -> None:
    def head(file: Path):
        data = file.read_bytes()
        return parse_header(data[8 : 8 + header_length(data[:8])])

    checkpoint = head(built / "checkpoints" / "demo.safetensors")
    kind = checkpoint_kind(checkpoint)
    assert kind is not None
    assert (kind.family, kind.channels) == ("sd15", 4)
    assert missing_parts(checkpoint) == ()
    for name in WORD_SWAPS:
        lora = head(built / "loras" / name)
        assert is_lora(lora)
        assert lora_family(lora) == "sd15"


def test_building_again_touches_nothing(built: Path) -> None:
    file = built / "checkpoints" / "demo.safetensors"
    before = file.stat()
    build(built)
    assert file.stat().st_mtime_ns == before.st_mtime_ns


def test_the_loras_swap_the_words_that_they_are_named_after(built: Path) -> None:
    tokenizer = clip_tokenizer()
    for name, tokens in WORD_SWAPS.items():
        _, word, _, other = name.removesuffix(".safetensors").split("-")
        assert [tokenizer(text).input_ids[1:-1] for text in (word, other)] == [[token] for token in tokens]
        state = load_file(built / "loras" / name)
        assert {tuple(tensor.shape) for key, tensor in state.items() if key.endswith("lora_down.weight")} == {(1, 768)}
