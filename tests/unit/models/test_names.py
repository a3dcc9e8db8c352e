from pathlib import Path

import pytest

from orchestrator.errors import ModelNotFound, SettingsError
from orchestrator.models.finder import ModelFinder
from orchestrator.models.names import load_names
from orchestrator.models.reference import CivitaiVersion, LocalName
from orchestrator.models.shelf import Shelf
from tests.integration.models import SD15, write_header
from tests.unit.models.supply import BOTH

TEXT = """
checkpoints:
  house: 64094
  air: urn:air:sd1:checkpoint:civitai:10028@64094
  64094: never/ending.safetensors
loras:
  house: pixel
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "models.yaml"
    file.write_text(text)
    return file


def test_names_stand_for_versions_or_files(tmp_path: Path) -> None:
    names = load_names(write(tmp_path, TEXT))
    assert names.means("checkpoint", "house") == CivitaiVersion(64094)
    assert names.means("checkpoint", "air") == CivitaiVersion(64094, None, 10028)
    assert names.means("checkpoint", "64094") == LocalName("never/ending")
    assert names.means("lora", "house") == LocalName("pixel")
    assert names.means("lora", "64094") is None


def test_no_file_is_no_names(tmp_path: Path) -> None:
    assert not load_names(tmp_path / "none.yaml").known
    assert not load_names(write(tmp_path, "")).known


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("checkpoints: [1]", "not a list of names"),
        ("vaes: {a: b}", "neither checkpoints nor loras"),
        ("loras: {a: [1]}", "a must stand for"),
        ("loras: {a: ../../x.safetensors}", "below models/loras"),
        ("loras: {a: /x.safetensors}", "below models/loras"),
        ("loras: {a: 'urn:air:sd1:checkpoint:civitai:1@2'}", "a lora is asked for"),
        ("loras: {a: true}", "a must stand for"),
        ("[" * 20_000, "cannot be read"),
        (": :", "cannot be read"),
    ],
)
def test_what_is_wrong_in_the_file_is_told(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load_names(write(tmp_path, text))


async def test_a_number_that_stands_for_a_file_needs_no_network(tmp_path: Path) -> None:
    finder = ModelFinder(Shelf(tmp_path), load_names(write(tmp_path, TEXT)))
    with pytest.raises(ModelNotFound, match=r"models\.yaml"):
        await finder.checkpoint("64094", "model", BOTH)
    write_header(tmp_path / "checkpoints" / "never" / "ending.safetensors", SD15)
    found = await finder.checkpoint("64094", "model", BOTH)
    assert found.file == "never/ending.safetensors"
    async with finder.hold([found], lambda _: None):
        pass
    with pytest.raises(ModelNotFound, match="turned off"):
        await finder.checkpoint("house", "model", BOTH)
