"""A real ComfyUI beside the embedded backend, both with the demo model and this project's node pack.

Needs COMFYUI_DIR (its checkout) and COMFYUI_PYTHON (a Python that can run it); without them the tests are skipped.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.demo_model.build import build
from tests.comfyui.backends import REPOSITORY, Backend, comfyui_arguments, embedded_arguments, started
from tests.comfyui.shapes import write_small


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with the demo model's checkpoint and LoRAs, and a small inpainting checkpoint."""
    folder = tmp_path_factory.mktemp("models")
    build(folder)
    write_small(folder / "checkpoints" / "inpainting.safetensors", channels=9)
    return folder


@pytest.fixture(scope="session")
def comfyui_installation() -> tuple[str, str]:
    """ComfyUI's checkout and the Python that runs it."""
    place, python = os.environ.get("COMFYUI_DIR"), os.environ.get("COMFYUI_PYTHON")
    if not place or not python:
        pytest.skip("no real ComfyUI: set COMFYUI_DIR to its checkout and COMFYUI_PYTHON to a Python that runs it")
    return place, python


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of SD1.5's family with random weights."""
    file = tmp_path_factory.mktemp("small") / "small.safetensors"
    write_small(file)
    return file


@pytest.fixture(scope="session")
def comfyui(
    models: Path, tmp_path_factory: pytest.TempPathFactory, comfyui_installation: tuple[str, str]
) -> Iterator[Backend]:
    """A real ComfyUI on a free port with folders of its own."""
    place, python = comfyui_installation
    folder = tmp_path_factory.mktemp("comfyui")
    with started(comfyui_arguments(python, models, folder), folder, Path(place)) as backend:
        yield backend


@pytest.fixture(scope="session")
def embedded(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """The embedded backend on a free port."""
    folder = tmp_path_factory.mktemp("embedded")
    with started(embedded_arguments(models, folder), folder, REPOSITORY) as backend:
        yield backend
