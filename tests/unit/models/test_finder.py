from pathlib import Path

import pytest

from orchestrator.errors import ModelMismatch, ModelNotFound
from orchestrator.models.finder import ModelFinder
from orchestrator.models.shelf import Shelf
from tests.integration.models import SD15, SD15_LORA, SDXL_LORA, write_header

BOTH = ("sd15", "sdxl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_header(tmp_path / "checkpoints" / "64094.safetensors", SD15)
    write_header(tmp_path / "checkpoints" / "other.safetensors", SD15)
    write_header(tmp_path / "loras" / "fits.safetensors", SD15_LORA)
    write_header(tmp_path / "loras" / "xl.safetensors", SDXL_LORA)
    return tmp_path


async def test_a_model_is_found_by_its_files_name(folder: Path) -> None:
    finder = ModelFinder(Shelf(folder))
    checkpoint = await finder.checkpoint("64094", "model", BOTH)
    assert (checkpoint.file, checkpoint.family, checkpoint.remote) == ("64094.safetensors", "sd15", None)
    assert (await finder.lora("fits", "prompt", checkpoint)).file == "fits.safetensors"


async def test_a_name_may_have_its_files_ending(folder: Path) -> None:
    finder = ModelFinder(Shelf(folder))
    checkpoint = await finder.checkpoint("64094.safetensors", "model", BOTH)
    assert (checkpoint.file, checkpoint.remote) == ("64094.safetensors", None)
    assert (await finder.lora("fits.safetensors", "prompt", checkpoint)).file == "fits.safetensors"
    write_header(folder / "checkpoints" / "other.safetensors.safetensors", SD15)
    assert (await finder.checkpoint("other.safetensors", "model", BOTH)).file == "other.safetensors.safetensors"


async def test_a_file_that_is_replaced_is_read_again(folder: Path) -> None:
    finder = ModelFinder(Shelf(folder))
    await finder.checkpoint("other", "model", BOTH)
    write_header(folder / "checkpoints" / "other.safetensors", SDXL_LORA)
    with pytest.raises(ModelMismatch, match="not a Stable Diffusion checkpoint"):
        await finder.checkpoint("other", "model", BOTH)


@pytest.mark.parametrize("name", ["nothing", "../checkpoints/64094", "", "64094.ckpt", ".safetensors", "*"])
async def test_an_unknown_name_is_answered_with_those_that_are_there(folder: Path, name: str) -> None:
    with pytest.raises(ModelNotFound, match="there are:") as caught:
        await ModelFinder(Shelf(folder)).checkpoint(name, "model", BOTH)
    assert caught.value.fields[0].field == "model"


async def test_an_empty_shelf_is_no_fault(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        await ModelFinder(Shelf(tmp_path / "none")).checkpoint("demo", "model", BOTH)


async def test_a_lora_of_another_family_is_refused_and_both_are_named(folder: Path) -> None:
    finder = ModelFinder(Shelf(folder))
    checkpoint = await finder.checkpoint("64094", "model", BOTH)
    with pytest.raises(ModelMismatch, match=r"xl.*sdxl.*64094.*sd15"):
        await finder.lora("xl", "prompt", checkpoint)


async def test_a_family_that_the_widget_does_not_run_is_refused(folder: Path) -> None:
    with pytest.raises(ModelMismatch, match="runs sdxl"):
        await ModelFinder(Shelf(folder)).checkpoint("64094", "model", ("sdxl",))
