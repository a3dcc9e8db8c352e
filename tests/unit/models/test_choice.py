from typing import Any

import pytest

from orchestrator.errors import ModelError, ModelGated, ModelGone, ModelMismatch, ModelNotFound, ModelUnsafe
from orchestrator.models.choice import base_family, choose_file, names_other_family, require_usable
from orchestrator.models.civitai import Version, read_version


def file(number: int, **more: Any) -> dict[str, Any]:
    about = {"format": more.pop("format", "SafeTensor"), "size": more.pop("size", "full"), "fp": more.pop("fp", "fp32")}
    return {"id": number, "name": f"{number}.bin", "type": "Model", "metadata": about, **more}


def version(*files: dict[str, Any], **more: Any) -> Version:
    return read_version(
        {"id": 1, "name": "v1", "model": {"name": "M", "type": "Checkpoint"}, "files": list(files), **more}
    )


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        ([file(1), file(2, primary=True)], 2),
        ([file(1), file(2, size="pruned")], 2),
        ([file(1), file(2, fp="fp16")], 2),
        ([file(1, size="pruned"), file(2, fp="fp16"), file(3, size="pruned", fp="fp16")], 3),
        ([file(1, format="PickleTensor", primary=True, size="pruned", fp="fp16"), file(2)], 2),
        ([file(1, type="VAE", primary=True), file(2)], 2),
        ([file(1, type="Training Data"), file(2, type="Pruned Model")], 2),
        ([file(1, primary=True, virusScanResult="Danger"), file(2)], 2),
        ([file(1), file(2)], 1),
    ],
)
def test_the_file_is_the_primary_else_the_pruned_else_the_half_precision_safetensors(
    files: list[dict[str, Any]], chosen: int
) -> None:
    assert choose_file(version(*files)).id == chosen


def test_a_named_file_is_taken_and_an_unknown_one_is_answered_with_those_there_are() -> None:
    both = version(file(1, primary=True), file(2, type="VAE"))
    assert choose_file(both, 2).id == 2
    with pytest.raises(ModelNotFound, match=r"1 \(1.bin\), 2 \(2.bin\)"):
        choose_file(both, 3)


@pytest.mark.parametrize(
    ("files", "error", "says"),
    [
        ([], ModelGone, "no model file"),
        ([file(1, type="VAE")], ModelGone, "no model file"),
        ([file(1, format="PickleTensor"), file(2, format="Diffusers")], ModelUnsafe, "diffusers, pickletensor only"),
        ([file(1, pickleScanResult="Danger", pickleScanMessage="os.system")], ModelUnsafe, "os.system"),
        ([file(1, virusScanResult="Error")], ModelUnsafe, "virus scan says error"),
        ([file(1, virusScanResult="Pending")], ModelUnsafe, "try again later"),
    ],
)
def test_a_version_without_a_safe_file_is_refused_with_the_reason(
    files: list[dict[str, Any]], error: type[ModelError], says: str
) -> None:
    with pytest.raises(error, match=says):
        choose_file(version(*files))


@pytest.mark.parametrize(
    ("facts", "error", "says"),
    [
        ({"model": {"type": "LORA"}}, ModelMismatch, "<lora:1:1>"),
        ({"model": {"type": "TextualInversion"}}, ModelMismatch, "TextualInversion"),
        ({"baseModel": "SD 2.1"}, ModelMismatch, "SD 2.1"),
        ({"baseModel": "SD 3.5 Large"}, ModelMismatch, "SD 3.5"),
        ({"baseModel": "Flux.1 D"}, ModelMismatch, "Flux"),
        ({"baseModel": "Pony V7"}, ModelMismatch, "Pony V7"),
        ({"model": {"type": "Checkpoint", "mode": "Archived"}}, ModelGone, "archived"),
        ({"usageControl": "InternalGeneration"}, ModelGated, "downloads off"),
    ],
)
def test_facts_refuse_what_can_never_work(facts: dict[str, Any], error: type[ModelError], says: str) -> None:
    with pytest.raises(error, match=says):
        require_usable(version(file(1), **facts), "checkpoint")


@pytest.mark.parametrize("base", ["SD 1.5", "SDXL 1.0", "Pony", "Illustrious", "Other", "SDXL Distilled", "", "New XL"])
def test_what_may_work_is_left_to_the_header(base: str) -> None:
    require_usable(version(file(1), baseModel=base), "checkpoint")


@pytest.mark.parametrize(
    ("base", "family"),
    [
        *((base, "sd15") for base in ("SD 1.4", "SD 1.5", "SD 1.5 LCM", "SD 1.5 Hyper")),
        *((base, "sdxl") for base in ("SDXL 0.9", "SDXL 1.0", "SDXL 1.0 LCM", "SDXL Lightning", "SDXL Hyper")),
        *((base, "sdxl") for base in ("SDXL Turbo", "Pony", "Illustrious", "NoobAI", "Playground v2")),
        *((base, None) for base in ("SDXL Distilled", "Other", "SD 2.1", "Kolors", "")),
    ],
)
def test_civitais_base_models_stand_for_families(base: str, family: str | None) -> None:
    assert base_family(base) == family


@pytest.mark.parametrize(
    ("base", "other"),
    [("Anima", True), ("Ernie", True), ("Other", False), ("", False), ("SDXL Distilled", False), ("Pony", False)],
)
def test_a_name_of_no_family_that_runs_here_is_told_from_none(base: str, other: bool) -> None:
    assert names_other_family(base) is other
