"""The main job on real parts: HTTP in, a graph on the embedded backend, a picture out."""

import io
import json
import re
import urllib.request

import aiohttp
import numpy as np
import pytest
from PIL import Image

from tests.integration.pictures import SIDE, box_mask, fetch, noisy, paint, plain, png, text, values
from tests.integration.services import told


async def test_a_request_answers_the_url_of_a_jpeg_and_nothing_else(service: aiohttp.ClientSession) -> None:
    async with service.post("/widgets/inpaint", json=values()) as answer:
        assert answer.status == 200
        body = await answer.json()
        assert set(body) == {"url"}
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer.headers["X-Job-Id"])
        assert answer.headers["X-Seed"] == "1"
        job = answer.headers["X-Job-Id"]
    picture = await fetch(service, body["url"])
    assert (picture.format, picture.size) == ("JPEG", (SIDE, SIDE))
    async with service.get(f"/jobs/{job}") as answer:
        assert (await answer.json())["state"] == "succeeded"


async def test_pixels_outside_the_mask_come_back_bit_for_bit(service: aiohttp.ClientSession) -> None:
    size = (150, 109)
    picture, mask = noisy(size), box_mask(size, 30)
    result = await paint(service, image=text(picture), mask=text(mask), mask_blur=6)
    before, inside = np.asarray(picture), np.asarray(mask) > 0
    assert result.shape == before.shape
    np.testing.assert_array_equal(result[~inside], before[~inside])
    assert (result[inside] != before[inside]).any(-1).mean() > 0.5


async def test_only_masked_paints_what_is_too_thin_in_the_whole_picture_and_keeps_the_rest_exact(
    service: aiohttp.ClientSession,
) -> None:
    size = (150, 109)
    picture, mask = noisy(size), Image.new("L", size)
    mask.paste(255, (140, 100, 146, 105))
    given = {"image": text(picture), "mask": text(mask), "mask_blur": 1}
    async with service.post("/widgets/inpaint", json=values(**given)) as answer:
        assert answer.status == 422
        assert [error["field"] for error in (await answer.json())["errors"]] == ["mask"]
    result = await paint(service, **given, inpaint_full_res=1, inpaint_full_res_padding=4)
    before, inside = np.asarray(picture), np.asarray(mask) > 0
    np.testing.assert_array_equal(result[~inside], before[~inside])
    assert (result[inside] != before[inside]).any(-1).mean() > 0.5
    wider = await paint(service, **given, inpaint_full_res=1, inpaint_full_res_padding=30)
    assert (wider != result).any(), "the padding is what the model sees beside the mask"


async def test_only_masked_with_an_empty_mask_is_refused_before_the_run(service: aiohttp.ClientSession) -> None:
    empty = text(Image.new("L", (SIDE, SIDE)))
    async with service.post("/widgets/inpaint", json=values(mask=empty, inpaint_full_res=1)) as answer:
        assert answer.status == 422
        assert "no white pixel" in (await answer.json())["errors"][0]["message"]


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
async def test_a_prompt_that_stands_for_too_much_is_a_422_that_names_it(
    service: aiohttp.ClientSession, field: str
) -> None:
    async with service.post("/widgets/inpaint", json=values(**{field: "BREAK " * 513})) as answer:
        refused = await answer.json()
    assert (answer.status, refused["code"]) == (422, "invalid_parameters")
    assert [error["field"] for error in refused["errors"]] == [field]
    assert refused["errors"][0]["message"].startswith("the prompt is too much to read")


async def test_invert_repaints_the_rest(service: aiohttp.ClientSession) -> None:
    picture, mask = noisy((SIDE, SIDE)), box_mask(margin=40)
    result = await paint(service, image=text(picture), mask=text(mask), inpainting_mask_invert=1, mask_blur=0)
    inside = np.asarray(mask) > 0
    np.testing.assert_array_equal(result[inside], np.asarray(picture)[inside])
    assert (result[~inside] != np.asarray(picture)[~inside]).any(-1).mean() > 0.5


async def test_a_seed_repeats_its_picture_and_another_does_not(service: aiohttp.ClientSession) -> None:
    first, again, other = await paint(service), await paint(service), await paint(service, seed=2)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(
    "change",
    [
        {"clip_skip": 2},
        {"inpainting_fill": 0},
        {"inpainting_fill": 1},
        {"inpainting_fill": 3},
        {"cfg_scale": 2},
        {"sampler": "Euler a"},
        {"negative_prompt": "red"},
        {"prompt": "a red heart <lora:demo-red-is-blue>"},
        {"denoising_strength": 0.5},
        {"inpaint_full_res": True},
    ],
    ids=lambda change: "-".join(f"{name}={value}" for name, value in change.items()),
)
async def test_each_parameter_changes_the_picture(service: aiohttp.ClientSession, change: dict[str, object]) -> None:
    assert (await paint(service) != await paint(service, **change)).any()


async def test_the_demo_model_paints_the_colour_that_is_asked_for(service: aiohttp.ClientSession) -> None:
    for colour, channel in (("red", 0), ("blue", 2)):
        middle = (await paint(service, prompt=f"a {colour} square on a white background", steps=12))[48:80, 48:80]
        assert middle.mean((0, 1)).argmax() == channel


async def test_a_lora_turns_red_into_blue(service: aiohttp.ClientSession) -> None:
    prompt = "a red square on a white background <lora:demo-red-is-blue:1.0>"
    middle = (await paint(service, prompt=prompt, steps=12))[48:80, 48:80]
    assert middle.mean((0, 1)).argmax() == 2


async def test_a_form_with_files_answers_as_json_does(service: aiohttp.ClientSession) -> None:
    form = aiohttp.FormData()
    for name, value in values().items():
        if name in ("image", "mask"):
            form.add_field(name, png(plain() if name == "image" else box_mask()), filename=f"{name}.png")
        else:
            form.add_field(name, str(value))
    async with service.post("/widgets/inpaint", data=form, headers={"Accept": "image/png"}) as answer:
        assert answer.status == 200, await answer.text()
        picture = await fetch(service, (await answer.json())["url"])
    np.testing.assert_array_equal(np.asarray(picture), await paint(service))


async def test_a_listener_sees_the_picture_come(service: aiohttp.ClientSession) -> None:
    asked = values(steps=12)
    async with service.post("/widgets/inpaint", json=asked, headers={"Prefer": "respond-async"}) as answer:
        job = (await answer.json())["id"]
    async with service.get(f"/jobs/{job}/events", timeout=aiohttp.ClientTimeout(total=600)) as answer:
        previews = [event.data async for event in told(answer) if event.kind == "preview"]
    assert previews
    with urllib.request.urlopen(previews[-1]["image"]) as data:
        picture = Image.open(io.BytesIO(data.read()))
    assert picture.format == "JPEG"
    assert max(picture.size) <= 256
    assert previews[-1]["node"] == "Sampler"


async def test_lenient_values_mean_what_they_say(service: aiohttp.ClientSession) -> None:
    lenient = values(steps="4", seed="1", cfg_scale="", inpainting_mask_invert=0.0, width=512)
    async with service.post("/widgets/inpaint", json=lenient, headers={"Accept": "image/png"}) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.headers["X-Ignored-Parameters"] == "width"
        picture = await fetch(service, (await answer.json())["url"])
    np.testing.assert_array_equal(np.asarray(picture), await paint(service))


@pytest.mark.parametrize("as_text", [True, False])
async def test_myshells_envelope_runs_the_same_widget(service: aiohttp.ClientSession, as_text: bool) -> None:
    inner = values()
    body = {"widget_id": "1782399147535691776", "input": json.dumps(inner) if as_text else inner}
    trace = {"x-myshell-openapi-trace-id": "t-1"}
    async with service.post("/public/v1/widget/run", json=body, headers=trace) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.headers["x-myshell-openapi-trace-id"] == "t-1"
        outer = await answer.json()
    assert outer["success"] is True
    assert (await fetch(service, json.loads(outer["result"])["url"])).size == (SIDE, SIDE)


async def test_the_link_knows_head_and_range(service: aiohttp.ClientSession) -> None:
    async with service.post("/widgets/inpaint", json=values()) as answer:
        url = (await answer.json())["url"]
    async with service.head(url) as answer:
        assert answer.status == 200
        assert answer.content_type == "image/jpeg"
        size = int(answer.headers["Content-Length"])
        assert "max-age=" in answer.headers["Cache-Control"]
    async with service.get(url, headers={"Range": "bytes=0-1"}) as answer:
        assert answer.status == 206
        assert await answer.read() == b"\xff\xd8"
        assert answer.headers["Content-Range"] == f"bytes 0-1/{size}"
        tag = answer.headers["ETag"]
    async with service.get(url, headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304
    for beyond in (f"bytes={size}-", "bytes=5-2", "pages=1"):
        async with service.get(url, headers={"Range": beyond}) as answer:
            assert answer.status == 416
            assert answer.content_type == "application/problem+json"
            assert answer.headers["Content-Range"] == f"bytes */{size}"
            assert answer.headers["Cache-Control"] == "no-store"
            assert (await answer.json())["code"] == "range_not_satisfiable"


async def test_txt2img_needs_no_picture(service: aiohttp.ClientSession) -> None:
    quick = {"model": "demo", "prompt": "a green circle", "width": 128, "height": 96, "steps": 3, "seed": 4}
    assert (await paint(service, "txt2img", **quick)).shape == (96, 128, 3)


async def test_a_picture_of_another_kind_keeps_its_size(service: aiohttp.ClientSession) -> None:
    picture = noisy((97, 64)).convert("P")
    result = await paint(service, image=text(picture), mask=text(Image.new("L", (97, 64), 255)))
    assert result.shape == (64, 97, 3)
