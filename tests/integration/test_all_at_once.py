"""Pictures, masks and models that cannot be used are all named in one answer."""

import asyncio
from typing import Any

import pytest
from PIL import Image

from orchestrator.models.finder import ModelFile, ModelFinder
from tests.fakes.comfyui import FakeComfyUI
from tests.integration.pictures import text, values
from tests.integration.services import Service, ready

BLANK = text(Image.new("L", (128, 128)))


@pytest.mark.parametrize(
    ("more", "status", "code", "named"),
    [
        ({"image": "!!", "mask": "!!"}, 422, "invalid_parameters", ["image", "mask"]),
        ({"image": "!!", "mask": BLANK, "model": "nope"}, 422, "invalid_parameters", ["image", "model"]),
        (
            {"mask": BLANK, "model": "nope", "prompt": "x <lora:nope:1>"},
            422,
            "invalid_parameters",
            ["mask", "model", "prompt"],
        ),
        ({"mask": "http://127.0.0.1/m.png", "model": "nope"}, 422, "invalid_parameters", ["mask", "model"]),
        ({"model": "nope", "prompt": "x <lora:nope:1>"}, 404, "model_not_found", ["model", "prompt"]),
        ({"model": "nope", "prompt": "x <lora:xl:1><lora:fits:1>"}, 404, "model_not_found", ["model"]),
        ({"model": "lora", "prompt": "x <lora:nope:1>"}, 422, "model_mismatch", ["model", "prompt"]),
        ({"prompt": "x <lora:nope:1><lora:fits:1><lora:no:1>"}, 404, "model_not_found", ["prompt", "prompt"]),
        ({"prompt": "x <lora:xl:1><lora:no:1>"}, 422, "model_mismatch", ["prompt", "prompt"]),
        ({"steps": 0, "image": "!!", "model": "nope"}, 422, "invalid_parameters", ["steps"]),  # values come first
    ],
)
async def test_every_fault_is_named(
    more: dict[str, Any], status: int, code: str, named: list[str], fake: FakeComfyUI, start: Service
) -> None:
    client = await ready(await start(fake.url))
    async with client.post("/widgets/inpaint", json=values(**more)) as answer:
        told = await answer.json()
    assert (answer.status, told["code"], [error["field"] for error in told["errors"]]) == (status, code, named)
    if len(named) > 1:
        assert told["detail"].endswith(f" cannot be used: {', '.join(dict.fromkeys(named))}")
    assert not fake.requests("POST /prompt")


async def test_what_is_known_to_be_wrong_does_not_wait_for_a_model_that_is_long_looked_for(
    fake: FakeComfyUI, start: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def checkpoint(*_: object) -> ModelFile:
        await asyncio.sleep(60)
        raise AssertionError("it was waited for")

    client = await ready(await start(fake.url))
    monkeypatch.setattr(ModelFinder, "checkpoint", checkpoint)
    async with asyncio.timeout(20), client.post("/widgets/inpaint", json=values(image="!!")) as answer:
        assert [error["field"] for error in (await answer.json())["errors"]] == ["image"]


async def test_a_long_prompt_s_loras_are_not_all_looked_for_at_the_same_time(
    fake: FakeComfyUI, start: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, looking, most = ModelFinder.lora, 0, 0

    async def lora(finder: ModelFinder, name: str, field: str, checkpoint: ModelFile | None) -> ModelFile:
        nonlocal looking, most
        looking += 1
        most = max(most, looking)
        await asyncio.sleep(0.01)
        looking -= 1
        return await find(finder, name, field, checkpoint)

    monkeypatch.setattr(ModelFinder, "lora", lora)
    client = await ready(await start(fake.url))
    prompt = "x " + "".join(f"<lora:n{number}:1>" for number in range(20))
    async with client.post("/widgets/inpaint", json=values(prompt=prompt)) as answer:
        assert len((await answer.json())["errors"]) == 20
    assert most == 8
