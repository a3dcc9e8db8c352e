import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.cli import main
from tests.fakes.checkout import REPOSITORY


def test_check_says_what_can_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--data", str(tmp_path)]) == 0
    assert not list(tmp_path.iterdir())
    assert "inpaint, txt2img" in capsys.readouterr().out


def test_a_bad_setting_ends_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("port: many")
    assert main(["serve", "--config", str(config)]) == 2
    assert "port" in capsys.readouterr().err


def test_run_tells_its_usage_without_a_service(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help", "--url", "http://127.0.0.1:9"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("usage: orchestrator run WIDGET")
    assert "--url" in told.out
    assert not told.err


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


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("WEBHOOK_SECRET", "abc", "webhook_secret"),
        ("DATA", "/proc/nope", "data: the folder /proc/nope cannot be used"),
        ("NODES", "/nonexistent", "nodes: /nonexistent is no folder"),
        ("PUBLIC_URL", "nonsense", "public_url"),
        ("OTLP_ENDPOINT", "http://localhost:4318", "otlp_endpoint needs OpenTelemetry"),
    ],
)
def test_check_refuses_what_would_stop_the_start(
    setting: str,
    value: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    monkeypatch.setenv("ORCHESTRATOR_DATA", str(tmp_path))
    assert main(["check", "--offline"]) == 0
    monkeypatch.setenv(f"ORCHESTRATOR_{setting}", value)
    assert main(["check", "--offline"]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("name", ["keys.json", "jobs.sqlite", "link.key"])
def test_check_reads_what_lies_in_the_data_folder_and_changes_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_API_KEYS", "required")
    (tmp_path / name).write_text("broken" * (name != "link.key"))
    assert main(["check", "--offline", "--data", str(tmp_path)]) == 2
    assert name in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_check_says_when_jobs_are_of_a_newer_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as newer:
        newer.execute("PRAGMA user_version = 1000")
    assert main(["check", "--offline", "--data", str(tmp_path)]) == 2
    assert "newer version" in capsys.readouterr().err


def test_packs_that_are_not_there_stop_the_start_of_who_would_load_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("nodes: /nonexistent")
    assert main(["serve", "--config", str(config), "--data", str(tmp_path), "--port", "0"]) == 2
    assert "nodes: /nonexistent is no folder" in capsys.readouterr().err
    config.write_text("{nodes: /nonexistent, backends: [{url: 'http://gpu:8188'}]}")
    assert main(["check", "--offline", "--config", str(config), "--data", str(tmp_path)]) == 0


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
