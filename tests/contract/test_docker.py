"""What `docker/` says fits the rest of the project. Nothing is built here: there is no engine to build with.

`make check` also lints the Dockerfiles and holds the compose file against the specification's schema.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.comfy.known import KNOWN_VERSION
from orchestrator.loading import load
from tests.fakes.checkout import REPOSITORY

DOCKER = REPOSITORY / "docker"
IMAGES = ("service", "backend")


def dockerfile(image: str) -> str:
    return (DOCKER / image / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return loaded


@pytest.mark.parametrize("image", IMAGES)
def test_what_an_image_copies_is_there_and_let_through(image: str) -> None:
    let_through = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = re.findall(r"^COPY (?:--chmod=\S+ )?(?!--from)(.+) \S+$", dockerfile(image), re.MULTILINE)
    assert copied
    for source in " ".join(copied).split():
        assert (REPOSITORY / source).exists(), source
        assert source in let_through


@pytest.mark.parametrize("image", IMAGES)
def test_images_run_as_nobody_special_and_say_how_they_are(image: str) -> None:
    text = dockerfile(image)
    assert int(re.findall(r"^USER (\d+)$", text, re.MULTILINE)[-1]) >= 10000
    assert "\nHEALTHCHECK " in text


def test_the_backend_is_the_comfyui_that_workflows_are_audited_against() -> None:
    assert f"COMFYUI_VERSION={KNOWN_VERSION}\n" in dockerfile("backend")


def test_the_services_settings_are_good_ones(compose: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(compose["configs"]["orchestrator"]["content"])
    given = dict(re.findall(r"(ORCHESTRATOR_\w+)=(\S+)", dockerfile("service")))
    assert {name.removeprefix("ORCHESTRATOR_").lower() for name in given} <= set(load(None, {}).model_dump())
    settings = load(file, given)
    gpus = [name for name in compose["services"] if name.startswith("gpu")]
    assert [backend.called for backend in settings.backends] == gpus
    assert set(compose["services"]["service"]["depends_on"]) == set(gpus)


def test_each_gpu_has_a_device_of_its_own_and_reads_the_models_that_the_service_writes(
    compose: dict[str, Any],
) -> None:
    services = compose["services"]
    gpus = [body for name, body in services.items() if name.startswith("gpu")]
    devices = [gpu["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] for gpu in gpus]
    assert devices == [[str(number)] for number in range(len(gpus))]
    assert "models:/data/models" in services["service"]["volumes"]
    assert all("models:/models:ro" in gpu["volumes"] for gpu in gpus)


def test_the_start_script_hands_comfyui_the_shelf_the_packs_and_one_place_to_write(tmp_path: Path) -> None:
    stub = tmp_path / "bin" / "python"
    stub.parent.mkdir()
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stub.chmod(0o755)
    scratch = tmp_path / "scratch"
    environment = {"PATH": f"{stub.parent}:{os.environ['PATH']}", "SCRATCH": str(scratch), "MODELS": "/shelf"}
    said = subprocess.run(
        ["sh", str(DOCKER / "backend" / "start"), "--lowvram"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout.splitlines()
    assert said[0] == "main.py"
    assert said[-1] == "--lowvram"
    for name in ("--input-directory", "--output-directory", "--temp-directory", "--user-directory"):
        assert said[said.index(name) + 1].startswith(str(scratch))
    paths = yaml.safe_load(Path(said[said.index("--extra-model-paths-config") + 1]).read_text())
    assert paths["shelf"]["base_path"] == "/shelf"
    assert paths["packs"] == {"base_path": "/opt/packs", "custom_nodes": "comfyui_nodes"}
