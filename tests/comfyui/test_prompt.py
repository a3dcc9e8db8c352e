"""A1111 Prompt on a real ComfyUI's text encoder (see inside/prompt.py)."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.comfyui.backends import REPOSITORY
from tests.comfyui.shapes import write_small

pytestmark = pytest.mark.comfyui

SECONDS = 500.0


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, comfyui_installation: tuple[str, str]) -> dict[str, Any]:
    folder, python = comfyui_installation
    checkpoint = tmp_path_factory.mktemp("small") / "small.safetensors"
    write_small(checkpoint)
    program = Path(__file__).parent / "inside" / "prompt.py"
    run = subprocess.run(
        [python, program, checkpoint, REPOSITORY / "comfyui_nodes" / "a1111_inpaint"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": folder},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    told: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return told


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
