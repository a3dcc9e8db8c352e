"""The UNet's shape is read from its keys, and the built net is the net that the keys mean."""

import pytest
import torch

from orchestrator.demo_model.unet import NarrowUNet, expand
from orchestrator.embedded.unet import Level, Shape, build, shape_of
from orchestrator.embedded.unsupported import UnsupportedModel
from tests.unit.embedded.conftest import one_level_unet


def random_narrow_net() -> NarrowUNet:
    torch.manual_seed(5)
    net = NarrowUNet().eval().requires_grad_(False)
    for weight in net.parameters():
        if not weight.any():
            weight.normal_(std=0.05)
    return net


@torch.no_grad()
def test_the_demo_models_net_computes_the_same_through_diffusers() -> None:
    narrow = random_narrow_net()
    state = expand(narrow.state_dict())
    net = build(state)
    latent, text = torch.randn(2, 4, 8, 12), torch.randn(2, 77, 768)
    times = torch.tensor([3.0, 921.0])
    expected = narrow(latent, times, text)
    given = net(latent, times, encoder_hidden_states=text).sample
    assert torch.allclose(given, expected, atol=2e-4)
    assert shape_of(state) == Shape((Level(320, 1, 0), Level(320, 1, 1), Level(320, 1, 1)), 1)


def test_a_net_of_one_level_is_recognised() -> None:
    assert shape_of(one_level_unet()) == Shape((Level(320, 1, 0),), 1)


def test_the_shape_of_the_real_one_is_read_from_its_keys() -> None:
    """Names alone, as in Stable Diffusion 1.5's own checkpoint: four levels, two blocks each."""
    state = {"input_blocks.0.0.weight": torch.empty(320, 4, 3, 3, device="meta")}
    place = 1
    for level, channels in enumerate((320, 640, 1280, 1280)):
        for _ in range(2):
            state[f"input_blocks.{place}.0.in_layers.2.weight"] = torch.empty(channels, 1, 3, 3, device="meta")
            if level < 3:
                key = f"input_blocks.{place}.1.transformer_blocks.0.attn2.to_k.weight"
                state[key] = torch.empty(channels, 768, device="meta")
            place += 1
        if level < 3:
            state[f"input_blocks.{place}.0.op.weight"] = torch.empty(channels, channels, 3, 3, device="meta")
            place += 1
    state["middle_block.1.transformer_blocks.0.attn2.to_k.weight"] = torch.empty(1280, 768, device="meta")
    levels = (Level(320, 2, 1), Level(640, 2, 1), Level(1280, 2, 1), Level(1280, 2, 0))
    assert shape_of(state) == Shape(levels, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input_blocks.0.0.weight": torch.zeros(320, 8, 3, 3)}, "or 9 for inpainting; this has 8"),
        ({"input_blocks.0.0.weight": torch.zeros(256, 4, 3, 3)}, "another family"),
        ({"label_emb.0.0.weight": torch.zeros(1)}, "another family"),
        ({"middle_block.1.transformer_blocks.0.attn2.to_k.weight": torch.zeros(320, 1024)}, "another text encoder"),
        ({"surprise.weight": torch.zeros(1)}, "surprise"),
        ({"out.2.weight": torch.zeros(8, 320, 3, 3)}, "not those of Stable Diffusion"),
    ],
)
def test_another_kind_of_net_is_refused_in_a_sentence(change: dict[str, torch.Tensor], said: str) -> None:
    with pytest.raises(UnsupportedModel, match=said):
        build({**one_level_unet(), **change})


def test_a_net_with_a_tensor_missing_is_refused() -> None:
    state = dict(one_level_unet())
    del state["middle_block.1.norm.weight"]
    with pytest.raises(UnsupportedModel, match="not those of Stable Diffusion"):
        build(state)


def test_a_file_without_a_net_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="no UNet"):
        build({})
