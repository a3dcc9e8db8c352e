"""What callers can name without a download."""

from pathlib import Path

from orchestrator.models.names import load_names
from orchestrator.models.offer import offered_models
from orchestrator.models.shelf import Shelf
from tests.integration.services import some_models


def test_whole_models_and_the_operators_names_are_offered_and_nothing_else(tmp_path: Path) -> None:
    some_models(tmp_path / "models")
    (tmp_path / "models.yaml").write_text("checkpoints: {house: 64094, demo: other.safetensors}")
    offered = offered_models(Shelf(tmp_path / "models"), load_names(tmp_path / "models.yaml"))
    assert [(one.kind, one.name, one.family) for one in offered] == [
        ("checkpoint", "demo", ""),
        ("checkpoint", "house", ""),
        ("lora", "fits", "sd15"),
        ("lora", "xl", "sdxl"),
    ]


def test_an_empty_shelf_offers_nothing(tmp_path: Path) -> None:
    assert offered_models(Shelf(tmp_path), load_names(tmp_path / "models.yaml")) == []
