import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli import main
from tests.fakes.checkout import REPOSITORY


def test_check_says_what_can_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    assert "inpaint, txt2img" in capsys.readouterr().out


def test_a_bad_setting_ends_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("port: many")
    assert main(["serve", "--config", str(config)]) == 2
    assert "port" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_that_is_taken_ends_with_a_sentence(
    host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as other:
        port = str(other.getsockname()[1])
        assert main(["serve", "--host", host, "--port", port, "--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith(
        f"Cannot listen on {host} port {port}: Address already in use; --port or ORCHESTRATOR_PORT names another\n"
    )


def test_a_faulty_workflow_stops_the_start_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "workflows" / "broken").mkdir(parents=True)
    (tmp_path / "workflows" / "broken" / "widget.yaml").write_text("title: Broken")
    config = tmp_path / "config.yaml"
    config.write_text(f"workflows: {tmp_path / 'workflows'}")
    assert main(["serve", "--config", str(config), "--port", "0"]) == 2
    assert "broken" in capsys.readouterr().err


def test_check_reads_the_names_of_models_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "models.yaml").write_text("vaes: {a: b}")
    assert main(["check", "--data", str(tmp_path)]) == 2
    assert "neither checkpoints nor loras" in capsys.readouterr().err


def test_check_warns_of_names_whose_file_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "models.yaml").write_text("checkpoints: {house: gone.safetensors, other: 64094}")
    assert main(["check", "--data", str(tmp_path)]) == 0
    told = capsys.readouterr().err
    assert "house stands for" in told
    assert "other" not in told


def test_check_refuses_a_mirror_that_is_not_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("civitai_url: http://mirror.local:9000")
    assert main(["check", "--config", str(config), "--data", str(tmp_path)]) == 2
    assert "civitai_hosts" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_ends_a_command_without_a_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    drawing = REPOSITORY / "workflows" / "txt2img" / "workflow.json"
    command = [sys.executable, "-m", "orchestrator.cli", "workflows", "convert", str(drawing)]
    try:
        ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False)
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")
