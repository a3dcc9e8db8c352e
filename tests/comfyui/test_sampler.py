"""A1111 Sampler and A1111 Prompt inside a real ComfyUI, latent against latent (see inside/sampler.py)."""

from pathlib import Path
from typing import Any

import pytest

from tests.comfyui.backends import told_inside

pytestmark = pytest.mark.comfyui

BAR = 1e-5


@pytest.fixture(scope="module")
def report(small_checkpoint: Path, comfyui_installation: tuple[str, str]) -> dict[str, Any]:
    return told_inside(comfyui_installation, "sampler.py", small_checkpoint)


def test_deterministic_samplers_equal_core_s_with_a_hard_mask(report: dict[str, Any]) -> None:
    assert report["scale"] > 1
    for case, apart in report["deterministic"].items():
        assert apart / report["scale"] < BAR, case
    assert report["no mask"] / report["scale"] < BAR
    assert report["ddim"] / report["scale"] < BAR


def test_uni_pc_equals_core_s_over_the_same_levels_with_a_hard_mask_and_without(report: dict[str, Any]) -> None:
    assert report["uni_pc"]
    for case, apart in report["uni_pc"].items():
        assert apart / report["scale"] < BAR, case


def test_lcm_equals_core_s_on_a_model_patched_for_it_with_the_same_noise(report: dict[str, Any]) -> None:
    assert report["lcm"] < BAR


def test_samplers_that_core_takes_differently_differ(report: dict[str, Any]) -> None:
    for case, apart in (report["stochastic"] | {"lms": report["lms"]}).items():
        assert apart / report["scale"] > BAR, case


def test_the_latent_outside_the_mask_is_the_one_that_came_in(report: dict[str, Any]) -> None:
    assert report["outside"] == 0


def test_a_seed_repeats_its_picture(report: dict[str, Any]) -> None:
    assert report["repeat"] == 0
    assert report["gpu noise"] > 0


def test_a_plain_prompt_reads_as_core_s(report: dict[str, Any]) -> None:
    assert report["prompt"] == 0


def test_and_and_editing_reach_the_sampler(report: dict[str, Any]) -> None:
    assert report["AND of the same"] / report["scale"] < BAR
    assert report["AND of another"] / report["scale"] > BAR
    assert report["edited too late"] == 0, "a strength of 0.6 walks fewer calls than the turn is at"
    assert report["edited early"] / report["scale"] > BAR
