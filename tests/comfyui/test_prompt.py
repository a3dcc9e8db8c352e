"""A1111 Prompt on a real ComfyUI's text encoder (see inside/prompt.py)."""

from pathlib import Path
from typing import Any

import pytest

from tests.comfyui.backends import told_inside

pytestmark = pytest.mark.comfyui


@pytest.fixture(scope="module")
def report(small_checkpoint: Path, comfyui_installation: tuple[str, str]) -> dict[str, Any]:
    return told_inside(comfyui_installation, "prompt.py", small_checkpoint)


def test_tokens_are_those_of_clip_s_own_tokenizer_whatever_comfyui_makes_of_the_text(report: dict[str, Any]) -> None:
    assert sum(bool(ours) for ours, _ in report["tokens"]) == 9
    for ours, theirs in report["tokens"]:
        assert ours == theirs


def test_parts_of_unequal_length_reach_the_model_equally_long(report: dict[str, Any]) -> None:
    short, long = report["parts"]
    assert short == long
    assert long[1] > 77
    assert report["repeated"]


def test_texts_that_take_turns_are_read_once_each_however_many_the_steps(report: dict[str, Any]) -> None:
    assert report["alternating texts"] == 4


def test_a_prompt_shorter_than_the_negative_one_is_read_as_it_stands(report: dict[str, Any]) -> None:
    assert report["unequal lengths"] > 1
    assert report["repeated at 1"] < 1e-5
    assert report["repeated at 4"] < 1e-5
