"""Jobs with marked values, well and badly: no mark is in the log, whatever the service's own level is."""

import asyncio
import base64
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import PngImagePlugin

from orchestrator.telemetry.logs import JsonFormatter
from tests.fakes.civitai import FakeCivitai, Fixture
from tests.fakes.comfyui import FakeComfyUI
from tests.fakes.receiver import Receiver
from tests.integration.callers import a_key
from tests.integration.pictures import box_mask, plain, text, values
from tests.integration.services import Service, ready
from tests.unit.models.supply import checkpoint_file

MARK = "M4rkedV4lue"
"""In every value that must not be logged; 11 characters, so that base64 of it is found wherever it begins."""
MARKS = {MARK} | {base64.b64encode(b"\0" * lead + MARK.encode()).decode()[4:-4] for lead in range(3)}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged, as JSON: by the service at any level, by others from INFO on as in earnest."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    root, service = logging.getLogger(), logging.getLogger("orchestrator")
    before = root.level, service.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    service.setLevel(logging.DEBUG)
    stages = logging.getLogger("orchestrator.stages")
    stages.setLevel(logging.INFO)
    yield written
    root.removeHandler(handler)
    root.setLevel(before[0])
    service.setLevel(before[1])
    stages.setLevel(logging.NOTSET)


def marked_picture() -> str:
    about = PngImagePlugin.PngInfo()
    about.add_text("Comment", MARK * 50)
    file = io.BytesIO()
    plain().save(file, "PNG", pnginfo=about)
    return base64.b64encode(file.getvalue()).decode()


async def test_no_key_token_picture_or_word_of_a_caller_is_logged(
    fake: FakeComfyUI, start: Service, tmp_path: Path, log: io.StringIO
) -> None:
    async with FakeCivitai(Fixture(64094, checkpoint_file())) as civitai, Receiver() as receiver:
        client = await ready(
            await start(
                fake.url,
                api_keys="required",
                backends=[{"url": fake.url, "name": "fake", "headers": {"X-Backend-Key": MARK}}],
                civitai_url=civitai.url,
                civitai_hosts=civitai.hosts,
                civitai_key=MARK,
                webhook_networks=["127.0.0.0/8"],
                fetch_networks=["127.0.0.0/8"],
                webhook_secret="whsec_" + base64.b64encode(MARK.encode() * 3).decode(),
            )
        )
        key = a_key(tmp_path, "alice")
        hook = receiver.url.replace("secret-of-the-caller", MARK)
        headers = key | {"X-Webhook-URL": hook, "Idempotency-Key": MARK, "Prefer": "wait=60"}
        words = {
            "prompt": f"a heart {MARK}",
            "negative_prompt": MARK,
            "image": marked_picture(),
            "mask": text(box_mask()),
        }
        by_url = receiver.url.replace("/hook?token=secret-of-the-caller", f"/{MARK}.png?token={MARK}")
        for status, more in (
            (200, {"model": 64094}),
            (409, {"seed": 2}),  # the same idempotency key
            (422, {"steps": MARK, "sampler": MARK, "model": MARK}),
            (422, {"image": by_url}),
            (422, {"image": MARK * 3}),
            (422, {"mask": MARK}),
        ):
            sent = headers if status in (200, 409) else key
            async with client.post("/widgets/inpaint", json=values(**(words | more)), headers=sent) as answer:
                assert answer.status == status, await answer.text()
        for data in (f'{{"prompt": "{MARK}', f"[{MARK}]", f'{{"{MARK}": 1}}'):
            async with client.post("/widgets/inpaint", data=data, headers=key) as answer:
                assert answer.status in (400, 422)
        for wrong in ({"X-API-Key": MARK}, {"Authorization": f"Bearer {MARK}"}):
            async with client.get(f"/jobs/{MARK}?token={MARK}", headers=wrong) as answer:
                assert answer.status == 401
        async with client.get(f"/images/{MARK}?expires=9999999999&signature={MARK}") as answer:
            assert answer.status == 403
        await receiver.heard(2)  # a picture's URL, and the webhook
        fake.faults.raise_in = "VAEDecode"
        fake.faults.fail("POST /upload", 500, times=50)
        async with client.post("/widgets/inpaint", json=values(**words), headers=key) as answer:
            assert answer.status >= 500
        async with asyncio.timeout(30):
            while "has taken the word" not in log.getvalue():
                await asyncio.sleep(0.02)
        await client.close()
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    # The test's own server writes one; the service has none, see the log of the process in test_webhooks.
    lines = [line for line in lines if line["logger"] != "aiohttp.access"]
    ours = [line for line in lines if line["logger"].startswith("orchestrator")]
    stages = [line for line in ours if line["logger"] == "orchestrator.stages" and "stage" in line]
    assert {line["stage"] for line in stages} >= {
        "check",
        "pictures",
        "models",
        "compile",
        "keep",
        "queue",
        "run",
        "store",
    }
    assert all(line["job"] and line["seconds"] >= 0 for line in stages)
    secret = key["Authorization"].split()[1]
    told = [line for line in lines if any(mark in json.dumps(line) for mark in {*MARKS, secret})]
    assert told == []


def test_the_marks_are_found_in_base64_wherever_they_begin() -> None:
    for lead in range(9):
        text = base64.b64encode(b"x" * lead + MARK.encode() + b"yyyyy").decode()
        assert any(mark in text for mark in MARKS), lead
