"""`orchestrator run` as it is typed, at a service with the embedded backend."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.comfyui.backends import REPOSITORY, free_port

SAMPLE = REPOSITORY / "orchestrator" / "demo"
SECONDS = 120


def command(url: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "orchestrator.cli", "run", *map(str, arguments), "--url", url]


def run(url: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(url, *arguments), cwd=REPOSITORY, capture_output=True, text=True, timeout=SECONDS)


def test_a_picture_is_painted_with_a_bar_on_the_terminal(service_url: str, tmp_path: Path) -> None:
    output = tmp_path / "out.png"
    pictures = ("--image", SAMPLE / "sample.jpg", "--mask", SAMPLE / "mask.png")
    done = run(
        service_url, "inpaint", *pictures, "--prompt", "a red heart", "--model", "demo", "--steps", "4", "-o", output
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{output}\n"
    assert "3/3" in done.stderr
    with Image.open(output) as picture:
        assert (picture.format, picture.size) == ("PNG", (192, 128))


def test_another_widget_and_another_ending(service_url: str, tmp_path: Path) -> None:
    sizes = ("--width", "64", "--height", "96", "--steps", "2", "--negative-prompt", "a circle")
    done = run(
        service_url, "txt2img", "--prompt", "a blue circle", "--model", "demo", *sizes, "-o", tmp_path / "out.jpg"
    )
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (64, 96))


def test_help_lists_the_widgets_and_a_widgets_parameters(service_url: str) -> None:
    assert "inpaint" in run(service_url).stdout
    helped = run(service_url, "inpaint", "--help")
    assert helped.returncode == 0
    assert "--denoising-strength" in helped.stdout
    assert "1 to 150. Default: 25" in " ".join(helped.stdout.split())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--steps", "0"], "--steps must be a whole number from 1 to 150"),
        (["--mask", "no-such.png"], "--mask no-such.png cannot be read"),
        (["--model", "no-such-model"], "--model"),
    ],
)
def test_what_cannot_be_used_is_named_by_its_option(
    service_url: str, tmp_path: Path, given: list[str], told: str
) -> None:
    pictures = ("--image", SAMPLE / "sample.jpg", "--mask", SAMPLE / "mask.png")
    all_given = ("inpaint", *pictures, "--prompt", "p", "--model", "demo", *given, "-o", tmp_path / "out.png")
    done = run(service_url, *all_given)
    assert done.returncode == 2
    assert told in done.stderr
    assert not (tmp_path / "out.png").exists()


def test_a_required_option_that_is_missing_is_named(service_url: str, tmp_path: Path) -> None:
    done = run(service_url, "inpaint", "--prompt", "p", "-o", tmp_path / "out.png")
    assert done.returncode == 2
    assert "--image" in done.stderr
    assert run(service_url, "no-such-widget", "-o", "x.png").returncode == 2


@pytest.mark.parametrize("output", ["no-such-folder/out.png", "folder.png"])
def test_an_output_that_cannot_be_written_is_told_before_the_job_is_made(
    service_url: str, tmp_path: Path, output: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    done = run(service_url, "txt2img", "--prompt", "p", "--model", "demo", "-o", tmp_path / output)
    assert done.returncode == 2
    assert f"{output} cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert "done" not in done.stderr


def test_a_service_that_is_not_there_has_an_exit_status_of_its_own(tmp_path: Path) -> None:
    done = run(f"http://127.0.0.1:{free_port()}", "txt2img", "--prompt", "p", "-o", tmp_path / "out.png")
    assert done.returncode == 3
    assert "does not answer" in done.stderr


def test_ctrl_c_cancels_the_job(service_url: str, tmp_path: Path) -> None:
    long = ("--width", "512", "--height", "512", "--steps", "150", "--model", "demo", "--prompt", "p")
    running = subprocess.Popen(
        command(service_url, "txt2img", *long, "-o", tmp_path / "out.png"),
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert running.stderr is not None
    said, deadline = "", time.monotonic() + SECONDS
    while "/150" not in said and time.monotonic() < deadline:
        said += running.stderr.read(1)
    running.send_signal(signal.SIGINT)
    _, rest = running.communicate(timeout=SECONDS)
    assert running.returncode == 130, said + rest
    assert "cancelling the job" in rest
    assert not (tmp_path / "out.png").exists()
