"""LoRA files: their arithmetic, and merging that can be undone."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from orchestrator.embedded.lora import Change, Lora, Patched, Use, kohya_names, read
from orchestrator.embedded.unsupported import UnsupportedModel

UP, DOWN = torch.randn(6, 2), torch.randn(2, 4)


def linear_lora(name: str = "lora_unet_0", up: Tensor = UP, scale: float = 0.5) -> Lora:
    return Lora(Path("some.safetensors"), {name: Change(up, DOWN, None, scale)})


@pytest.fixture
def patched() -> tuple[nn.Sequential, Patched]:
    module = nn.Sequential(nn.Linear(4, 6)).requires_grad_(False)
    return module, Patched(module, kohya_names(module, "lora_unet_"))


def test_a_linear_change_is_scaled_by_alpha_over_rank(tmp_path: Path) -> None:
    state = {
        "lora_unet_x.lora_up.weight": UP,
        "lora_unet_x.lora_down.weight": DOWN,
        "lora_unet_x.alpha": torch.tensor(1.0),
    }
    save_file(state, tmp_path / "a.safetensors")
    change = read(tmp_path / "a.safetensors").changes["lora_unet_x"]
    assert torch.allclose(change.delta((6, 4)), UP @ DOWN * 0.5)


def test_a_file_without_alpha_is_taken_at_full_scale(tmp_path: Path) -> None:
    save_file({"lora_te1_x.lora_up.weight": UP, "lora_te1_x.lora_down.weight": DOWN}, tmp_path / "a.safetensors")
    change = read(tmp_path / "a.safetensors").changes["lora_te_x"]
    assert torch.allclose(change.delta((6, 4)), UP @ DOWN)


def test_a_convolution_is_changed_as_by_two_convolutions_in_a_row() -> None:
    up, down, x = torch.randn(6, 2, 1, 1), torch.randn(2, 4, 3, 3), torch.randn(1, 4, 5, 5)
    delta = Change(up, down, None, 1.0).delta((6, 4, 3, 3))
    two = nn.functional.conv2d(nn.functional.conv2d(x, down, padding=1), up)
    assert torch.allclose(nn.functional.conv2d(x, delta, padding=1), two, atol=1e-4)


def test_a_kernel_in_the_middle_is_a_third_convolution_in_the_row() -> None:
    up, middle, down = torch.randn(6, 2, 1, 1), torch.randn(2, 3, 3, 3), torch.randn(3, 4, 1, 1)
    x = torch.randn(1, 4, 5, 5)
    three = nn.functional.conv2d(nn.functional.conv2d(nn.functional.conv2d(x, down), middle, padding=1), up)
    delta = Change(up, down, middle, 1.0).delta((6, 4, 3, 3))
    assert torch.allclose(nn.functional.conv2d(x, delta, padding=1), three, atol=1e-4)


def test_a_chain_is_summed_and_undone_exactly(patched: tuple[nn.Sequential, Patched]) -> None:
    module, weights = patched
    before = module[0].weight.clone()
    chain = (Use(linear_lora(), 0.8), Use(linear_lora(), -0.3))
    weights.with_loras(chain)
    assert torch.allclose(module[0].weight, before + 0.5 * 0.5 * UP @ DOWN, atol=1e-6)
    weights.with_loras(())
    assert torch.equal(module[0].weight, before)


def test_a_file_that_was_read_again_is_merged_anew(patched: tuple[nn.Sequential, Patched]) -> None:
    module, weights = patched
    before = module[0].weight.clone()
    for up in (UP, UP.clone(), 2 * UP):
        weights.with_loras((Use(linear_lora(up=up), 1.0),))
        assert torch.allclose(module[0].weight, before + 0.5 * up @ DOWN, atol=1e-6)


def test_the_same_chain_again_costs_nothing(patched: tuple[nn.Sequential, Patched]) -> None:
    module, weights = patched
    lora = linear_lora()
    weights.with_loras((Use(lora, 0.8),))
    merged = module[0].weight.data_ptr()
    weights.with_loras((Use(lora, 0.8),))
    assert module[0].weight.data_ptr() == merged


def test_a_strength_of_zero_changes_nothing(patched: tuple[nn.Sequential, Patched]) -> None:
    module, weights = patched
    before = module[0].weight.clone()
    weights.with_loras((Use(linear_lora(), 0.0),))
    assert torch.equal(module[0].weight, before)


def test_a_lora_of_other_sizes_is_refused_by_name_and_leaves_the_weights_whole(
    patched: tuple[nn.Sequential, Patched],
) -> None:
    module, weights = patched
    before = module[0].weight.clone()
    wrong = Use(linear_lora(up=torch.randn(5, 2)), 1.0)
    with pytest.raises(UnsupportedModel, match=r"some\.safetensors does not fit"):
        weights.with_loras((wrong,))
    assert torch.equal(module[0].weight, before)


def test_blocks_answer_to_diffusers_and_to_ldm_names() -> None:
    module = nn.ModuleDict({"mid": nn.ModuleDict({"to_k": nn.Linear(2, 2)})})
    names = kohya_names(module, "lora_unet_", {"middle_block.1": "mid"})
    assert names["lora_unet_mid_to_k"] == names["lora_unet_middle_block_1_to_k"] == "mid.to_k.weight"


@pytest.mark.parametrize("name", ["x.hada_w1_a", "x.lokr_w1", "x.dora_scale"])
def test_other_kinds_of_files_are_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    save_file({name: torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UnsupportedModel, match=r"other\.safetensors is a"):
        read(tmp_path / "other.safetensors")


def test_a_file_without_loras_is_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "none.safetensors")
    with pytest.raises(UnsupportedModel, match="no LoRA"):
        read(tmp_path / "none.safetensors")
