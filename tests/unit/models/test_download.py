"""Everything that a download meets, against a stand-in that does it."""

import asyncio
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.errors import (
    DownloadFailed,
    ModelError,
    ModelGated,
    ModelGone,
    ModelMismatch,
    ModelNotFound,
    ModelUnavailable,
    ModelUnsafe,
)
from orchestrator.models.connection import Patience
from orchestrator.models.delivery import Arrival
from orchestrator.models.download import _store
from orchestrator.models.layout import Place
from orchestrator.models.part import PartFile
from orchestrator.models.shelf import Shelf
from orchestrator.models.speed import Progress
from tests.fakes.civitai import KEY, FakeCivitai, Fixture, model_file
from tests.integration.models import SD15, SD15_LORA, SDXL_LORA, UNET
from tests.unit.loop_gap import LIMIT, least_worst_gap
from tests.unit.models.supply import BOTH, checkpoint_file, fetch, lora_file, supplied

BODY = checkpoint_file()


@pytest.fixture
async def civitai() -> AsyncIterator[FakeCivitai]:
    async with FakeCivitai(
        Fixture(64094, BODY), Fixture(7, lora_file(), type="LORA"), Fixture(8, model_file(SDXL_LORA), type="LORA")
    ) as fake:
        yield fake


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*.safetensors")}


async def test_a_version_comes_to_the_shelf_with_its_origin_beside_it(civitai: FakeCivitai, tmp_path: Path) -> None:
    told: list[Progress] = []
    async with supplied(civitai, tmp_path) as finder:
        path = await fetch(finder, "64094", told)
    assert path == tmp_path / "checkpoints" / "64094-1064094.safetensors"
    assert path.read_bytes() == BODY
    origin = json.loads(path.with_suffix(".json").read_text())
    assert origin["sha256"] == hashlib.sha256(BODY).hexdigest()
    assert (origin["version_id"], origin["family"], origin["verified_by"]) == (64094, "sd15", "SHA256")
    assert (told[-1].received, told[-1].total) == (len(BODY), len(BODY))
    assert not list((tmp_path / ".shelf").glob("*.part*json"))


async def test_what_lies_on_the_shelf_needs_no_network(civitai: FakeCivitai, tmp_path: Path) -> None:
    async with supplied(civitai, tmp_path) as finder:
        await fetch(finder, "64094")
    before = sum(civitai.requests.values())
    async with supplied(civitai, tmp_path) as finder:
        await fetch(finder, "64094")
        await fetch(finder, "urn:air:sd1:checkpoint:civitai:2064094@64094+1064094")
    assert sum(civitai.requests.values()) == before


async def test_ten_concurrent_requests_download_once(civitai: FakeCivitai, tmp_path: Path) -> None:
    told: list[list[Progress]] = [[] for _ in range(10)]
    async with supplied(civitai, tmp_path) as finder:
        await asyncio.gather(*(fetch(finder, "64094", each) for each in told))
    assert civitai.requests == {"version": 1, "download": 1, "delivery": 2}  # the look and the file
    assert civitai.sent_bytes < len(BODY) + (1 << 20) + 1
    assert all(each for each in told)


async def test_two_finders_on_one_shelf_download_once(civitai: FakeCivitai, tmp_path: Path) -> None:
    """As two processes do: they share nothing but the disk."""
    civitai.fixtures[64094].pause = 0.005
    async with supplied(civitai, tmp_path) as first, supplied(civitai, tmp_path) as second:
        told: list[Progress] = []
        await asyncio.gather(fetch(first, "64094"), fetch(second, "64094", told))
    assert civitai.requests["delivery"] == 3  # two looks and one file


async def test_one_caller_that_leaves_does_not_end_it_for_the_other(civitai: FakeCivitai, tmp_path: Path) -> None:
    civitai.fixtures[64094].pause = 0.005
    async with supplied(civitai, tmp_path) as finder:
        first, second = (asyncio.create_task(fetch(finder, "64094")) for _ in range(2))
        await asyncio.sleep(0.1)
        first.cancel()
        assert (await second).read_bytes() == BODY
    assert civitai.requests["delivery"] == 2


async def test_a_download_that_is_left_goes_on_where_it_was(civitai: FakeCivitai, tmp_path: Path) -> None:
    fixture = civitai.fixtures[64094]
    fixture.pause = 0.02
    async with supplied(civitai, tmp_path) as finder:
        told: list[Progress] = []
        task = asyncio.create_task(fetch(finder, "64094", told))
        async with asyncio.timeout(30):
            while not (told and told[-1].received):
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait({task})
    assert not files(tmp_path)
    part = next((tmp_path / ".shelf").glob("*.part"))
    there = part.stat().st_size
    assert 0 < there < len(BODY)
    survey = Shelf(tmp_path).survey()
    assert survey.partial == (("64094-1064094", there, len(BODY)),)
    fixture.pause = 0
    async with supplied(civitai, tmp_path) as finder:
        assert (await fetch(finder, "64094")).read_bytes() == BODY
    assert civitai.ranges[-1] == f"bytes={there}-"


@pytest.mark.parametrize("fault", ["cut", "expired", "503"])
async def test_what_passes_is_got_over(civitai: FakeCivitai, tmp_path: Path, fault: str) -> None:
    fixture = civitai.fixtures[64094]
    async with supplied(civitai, tmp_path) as finder:
        file = await finder.checkpoint("64094", "model", BOTH)
        fixture.fault, fixture.times = fault, 2
        async with finder.hold([file], lambda _: None):
            assert file.place.file.read_bytes() == BODY
    assert fixture.times == 0


@pytest.mark.parametrize("fault", ["500", "524", "429", "429 with Retry-After", "expired", "503"])
async def test_what_passes_is_got_over_at_the_first_look_too(civitai: FakeCivitai, tmp_path: Path, fault: str) -> None:
    civitai.fixtures[64094].fault = fault
    async with supplied(civitai, tmp_path) as finder:
        assert (await fetch(finder, "64094")).read_bytes() == BODY


async def test_a_connection_cut_at_98_percent_goes_on_from_there(civitai: FakeCivitai, tmp_path: Path) -> None:
    fixture = civitai.fixtures[64094]
    fixture.fault = "cut"
    async with supplied(civitai, tmp_path) as finder:
        assert (await fetch(finder, "64094")).read_bytes() == BODY
    start = int(civitai.ranges[-1].removeprefix("bytes=").rstrip("-"))
    assert 0.9 * len(BODY) < start <= int(len(BODY) * 0.98)


async def test_an_url_that_expires_in_mid_download_is_asked_for_anew(civitai: FakeCivitai, tmp_path: Path) -> None:
    fixture = civitai.fixtures[64094]
    civitai.signed_lifetime = 0.4
    fixture.fault, fixture.cut_at, fixture.pause = "cut", 0.9, 0.02
    async with supplied(civitai, tmp_path) as finder:
        assert (await fetch(finder, "64094")).read_bytes() == BODY
    assert civitai.requests["download"] == 2
    assert civitai.ranges[-1] not in ("", "bytes=0-")


async def test_a_range_that_is_not_minded_starts_over_and_never_appends(civitai: FakeCivitai, tmp_path: Path) -> None:
    fixture = civitai.fixtures[64094]
    fixture.fault = "cut"
    async with supplied(civitai, tmp_path, patience=Patience(tries=1, stall=3.0)) as finder:
        with pytest.raises(ModelUnavailable, match="what has come is kept"):
            await fetch(finder, "64094")
        fixture.fault, fixture.times = "range ignored", 1
        assert (await fetch(finder, "64094")).read_bytes() == BODY
    assert civitai.ranges[-1] != ""
    assert civitai.requests["delivery"] == 3


async def test_a_file_that_changes_between_two_tries_starts_over(civitai: FakeCivitai, tmp_path: Path) -> None:
    fixture = civitai.fixtures[64094]
    fixture.fault = "cut"
    async with supplied(civitai, tmp_path, patience=Patience(tries=1, stall=3.0)) as finder:
        with pytest.raises(ModelUnavailable):
            await fetch(finder, "64094")
        fixture.etag = '"two"'
        assert (await fetch(finder, "64094")).read_bytes() == BODY


async def test_a_length_that_lies_once_is_got_over(civitai: FakeCivitai, tmp_path: Path) -> None:
    civitai.fixtures[64094].fault = "lying length"
    async with supplied(civitai, tmp_path) as finder:
        assert (await fetch(finder, "64094")).read_bytes() == BODY


async def test_wrong_bytes_in_one_piece_are_refused_and_not_fetched_again(civitai: FakeCivitai, tmp_path: Path) -> None:
    civitai.fixtures[64094].fault, civitai.fixtures[64094].times = "other bytes", 99
    async with supplied(civitai, tmp_path) as finder:
        for _ in range(3):
            with pytest.raises(DownloadFailed, match="SHA-256"):
                await fetch(finder, "64094")
    assert civitai.requests["delivery"] == 2  # a look and the file
    assert not files(tmp_path)


async def test_wrong_bytes_in_several_pieces_are_fetched_once_more(civitai: FakeCivitai, tmp_path: Path) -> None:
    leave(tmp_path, b"\0" * 1000)
    civitai.fixtures[64094].fault, civitai.fixtures[64094].times = "other bytes", 99
    async with supplied(civitai, tmp_path) as finder:
        with pytest.raises(DownloadFailed, match="SHA-256"):
            await fetch(finder, "64094")
    assert civitai.requests["delivery"] == 3


async def test_a_length_that_always_lies_is_given_up_on(civitai: FakeCivitai, tmp_path: Path) -> None:
    fixture = civitai.fixtures[64094]
    fixture.fault, fixture.times = "lying length", 99
    async with supplied(civitai, tmp_path) as finder:
        with pytest.raises(ModelUnavailable, match="announces"):
            await fetch(finder, "64094")
    assert not files(tmp_path)


async def test_a_wrong_hash_is_never_served(civitai: FakeCivitai, tmp_path: Path) -> None:
    civitai.fixtures[64094].file_facts = {"hashes": {"SHA256": "0" * 64}}
    async with supplied(civitai, tmp_path) as finder:
        with pytest.raises(DownloadFailed, match="by hand") as caught:
            await fetch(finder, "64094")
    assert caught.value.fields[0].field == "model"
    assert not files(tmp_path)


async def test_the_hash_of_the_tensors_alone_makes_good_for_an_old_one(civitai: FakeCivitai, tmp_path: Path) -> None:
    start = 8 + int.from_bytes(BODY[:8], "little")
    tensors = hashlib.sha256(BODY[start:]).hexdigest()
    civitai.fixtures[64094].file_facts = {"hashes": {"SHA256": "0" * 64, "AutoV3": tensors[:12].upper()}}
    async with supplied(civitai, tmp_path) as finder:
        path = await fetch(finder, "64094")
    assert json.loads(path.with_suffix(".json").read_text())["verified_by"] == "AutoV3"


async def test_a_file_without_a_hash_is_taken_by_its_structure(civitai: FakeCivitai, tmp_path: Path) -> None:
    civitai.fixtures[64094].file_facts = {"hashes": None}
    async with supplied(civitai, tmp_path) as finder:
        path = await fetch(finder, "64094")
    assert json.loads(path.with_suffix(".json").read_text())["verified_by"] == "structure"


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"body": b"PK\x03\x04" + b"\xff" * 5000}, ModelUnsafe, "zip"),
        ({"body": b"\x80\x02}q\x00(X" + b"\xff" * 5000}, ModelUnsafe, "pickle"),
        ({"body": (2**40).to_bytes(8, "little") + b"x" * 5000}, ModelUnsafe, "bytes long"),
        ({"body": BODY[:-1]}, DownloadFailed, None),
        ({"body": model_file(SD15_LORA)}, ModelMismatch, "not a Stable Diffusion checkpoint"),
        (
            {
                "body": model_file(
                    SD15 | {UNET + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [320, 1024]}
                )
            },
            ModelMismatch,
            "sd2",
        ),
        ({"base_model": "Flux.1 D"}, ModelMismatch, "Flux"),
        ({"type": "LORA"}, ModelMismatch, "<lora:64094:1>"),
        ({"file_facts": {"virusScanResult": "Danger"}}, ModelUnsafe, "virus scan says danger"),
        ({"file_facts": {"name": "x.ckpt", "metadata": {"format": "PickleTensor"}}}, ModelUnsafe, "pickletensor only"),
        ({"file_facts": {"sizeKB": 9_000_000}}, DownloadFailed, "Civitai says about"),
        ({"facts": {"files": []}}, ModelGone, "no model file"),
        ({"needs_login": True}, ModelGated, "set civitai_key"),
        ({"fault": "early"}, ModelGated, "early access"),
        ({"fault": "archived"}, ModelGone, "archived"),
    ],
)
async def test_what_can_not_work_is_refused_before_it_is_fetched(
    civitai: FakeCivitai, tmp_path: Path, change: dict[str, object], error: type[ModelError], says: str | None
) -> None:
    for name, value in change.items():
        setattr(civitai.fixtures[64094], name, value)
    async with supplied(civitai, tmp_path) as finder:
        if says is None:  # only the whole file shows it
            with pytest.raises((error, ModelUnavailable)):
                await fetch(finder, "64094")
        else:
            with pytest.raises(error, match=says) as caught:
                await finder.checkpoint("64094", "model", BOTH)
            assert caught.value.fields[0].field == "model"
            assert civitai.sent_bytes <= 1 << 20
    assert not files(tmp_path)


async def test_a_lora_that_does_not_fit_is_refused_by_its_first_bytes(civitai: FakeCivitai, tmp_path: Path) -> None:
    async with supplied(civitai, tmp_path) as finder:
        checkpoint = await finder.checkpoint("64094", "model", BOTH)
        fits = await finder.lora("7", "prompt", checkpoint)
        with pytest.raises(ModelMismatch, match=r"LoRA 8 is made for sdxl, the checkpoint 64094 is sd15"):
            await finder.lora("8", "prompt", checkpoint)
        async with finder.hold([checkpoint, fits], lambda _: None):
            assert files(tmp_path) == {"checkpoints/64094-1064094.safetensors", "loras/7-1000007.safetensors"}


async def test_a_header_longer_than_the_first_megabyte_is_read_whole(civitai: FakeCivitai, tmp_path: Path) -> None:
    many = {f"model.diffusion_model.layer{number}.weight": [1] for number in range(20_000)}
    civitai.fixtures[64094].body = body = model_file(SD15 | many)
    assert int.from_bytes(body[:8], "little") > 1 << 20
    async with supplied(civitai, tmp_path) as finder:
        assert (await fetch(finder, "64094")).read_bytes() == body


async def test_an_air_whose_model_does_not_own_the_version_is_refused(civitai: FakeCivitai, tmp_path: Path) -> None:
    async with supplied(civitai, tmp_path) as finder:
        with pytest.raises(ModelNotFound, match="belongs to the model 2064094"):
            await finder.checkpoint("urn:air:sd1:checkpoint:civitai:1@64094", "model", BOTH)


async def test_with_a_key_a_file_that_needs_a_login_comes(civitai: FakeCivitai, tmp_path: Path) -> None:
    civitai.fixtures[64094].needs_login = True
    async with supplied(civitai, tmp_path, key=KEY) as finder:
        assert (await fetch(finder, "64094")).read_bytes() == BODY


async def test_a_damaged_file_is_set_aside_at_the_next_start_and_fetched_anew(
    civitai: FakeCivitai, tmp_path: Path
) -> None:
    async with supplied(civitai, tmp_path) as finder:
        path = await fetch(finder, "64094")
    os.truncate(path, 1000)
    assert Shelf(tmp_path).survey().damaged == ("64094-1064094",)
    assert not files(tmp_path)
    async with supplied(civitai, tmp_path) as finder:
        assert (await fetch(finder, "64094")).read_bytes() == BODY


async def test_a_file_that_is_damaged_while_we_run_is_not_served(civitai: FakeCivitai, tmp_path: Path) -> None:
    async with supplied(civitai, tmp_path) as finder:
        path = await fetch(finder, "64094")
        os.truncate(path, 1000)
        assert (await fetch(finder, "64094")).read_bytes() == BODY


async def test_a_named_file_of_a_version_does_not_stand_for_the_version(civitai: FakeCivitai, tmp_path: Path) -> None:
    other = dict(civitai.fixtures[64094].file, id=5, primary=True)
    async with supplied(civitai, tmp_path) as finder:
        civitai.fixtures[64094].other_files = [dict(other, primary=False)]
        path = await fetch(finder, "urn:air:sd1:checkpoint:civitai:2064094@64094+1064094")
        assert json.loads(path.with_suffix(".json").read_text())["chosen"] is False
        delivered = civitai.requests["delivery"]
        # By its number alone the version has to be looked up; it means the same file here, which is not fetched twice.
        assert await fetch(finder, "64094") == path
        assert civitai.requests["delivery"] == delivered


async def test_what_a_checkpoint_predicts_is_kept_with_its_origin(civitai: FakeCivitai, tmp_path: Path) -> None:
    civitai.fixtures[64094].body = model_file(SD15 | {"v_pred": [0]})
    async with supplied(civitai, tmp_path) as finder:
        path = await fetch(finder, "64094")
    assert json.loads(path.with_suffix(".json").read_text())["prediction"] == "v"


async def test_a_connection_that_stalls_is_given_up_and_gone_on_with(civitai: FakeCivitai, tmp_path: Path) -> None:
    civitai.fixtures[64094].fault = "stall"
    patience = Patience(tries=3, first_wait=0.01, stall=0.4)
    async with supplied(civitai, tmp_path, patience=patience) as finder:
        assert (await fetch(finder, "64094")).read_bytes() == BODY
    assert civitai.ranges[-1] not in ("", "bytes=0-")


def leave(root: Path, data: bytes) -> None:
    """What a service left that was killed in the middle of version 64094."""
    (root / ".shelf").mkdir(parents=True)
    (root / ".shelf" / "checkpoint-64094-1064094.part").write_bytes(data)
    (root / ".shelf" / "checkpoint-64094-1064094.part.json").write_text(json.dumps({"total": len(BODY), "etag": ""}))


async def test_a_part_that_is_whole_is_not_fetched_again(civitai: FakeCivitai, tmp_path: Path) -> None:
    leave(tmp_path, BODY)
    async with supplied(civitai, tmp_path) as finder:
        assert (await fetch(finder, "64094")).read_bytes() == BODY
    assert civitai.requests["delivery"] == 1  # the look


@pytest.mark.parametrize(
    "rest", [b"\0" * 500_000, BODY[: len(BODY) - 3] + b"bad", BODY + b"more"], ids=["zeros", "whole", "longer"]
)
async def test_a_part_that_a_bad_disk_left_is_found_out_and_fetched_anew(
    civitai: FakeCivitai, tmp_path: Path, rest: bytes
) -> None:
    leave(tmp_path, rest)
    async with supplied(civitai, tmp_path) as finder:
        assert (await fetch(finder, "64094")).read_bytes() == BODY


async def test_without_civitai_the_answer_names_what_is_here(civitai: FakeCivitai, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "demo.safetensors").write_bytes(BODY)
    civitai.api_fault = [(503, {}, {})] * 9
    async with supplied(civitai, tmp_path) as finder:
        with pytest.raises(ModelUnavailable, match="on the shelf there are: demo"):
            await finder.checkpoint("64094", "model", BOTH)


async def test_a_download_never_holds_up_the_event_loop(civitai: FakeCivitai, tmp_path: Path) -> None:
    body = checkpoint_file(60_000_000)
    hashes = {"SHA256": hashlib.sha256(body).hexdigest()}
    fixture = civitai.fixtures[64094]
    fixture.body, fixture.file_facts = body, {"hashes": hashes}
    number = iter(range(9))
    async with supplied(civitai, tmp_path) as warm:
        await warm.checkpoint("64094", "model", BOTH)

        async def run() -> None:
            async with supplied(civitai, tmp_path / str(next(number))) as finder:
                await fetch(finder, "64094")

        assert await least_worst_gap(run) <= LIMIT


@pytest.mark.parametrize(("base", "runs"), [("Anima", False), ("Other", True), ("", True), ("SD 1.5", True)])
async def test_a_lora_of_which_nothing_tells_runs_unless_its_author_names_another_family(
    civitai: FakeCivitai, tmp_path: Path, base: str, runs: bool
) -> None:
    civitai.fixtures[7].body = model_file({"lora_unet_conv_in.lora_down.weight": [4, 4, 3, 3]})
    civitai.fixtures[7].base_model = base
    async with supplied(civitai, tmp_path) as finder:
        checkpoint = await finder.checkpoint("64094", "model", BOTH)
        if runs:
            assert (await finder.lora("7", "prompt", checkpoint)).family == "sd15"
        else:
            with pytest.raises(ModelMismatch, match="made for Anima, the checkpoint 64094 is sd15"):
                await finder.lora("7", "prompt", checkpoint)


async def test_a_header_longer_than_any_model_has_is_refused(civitai: FakeCivitai, tmp_path: Path) -> None:
    civitai.fixtures[64094].body = model_file(SD15, 100, {"x": "y" * (4 << 20)})
    async with supplied(civitai, tmp_path) as finder:
        with pytest.raises(ModelUnsafe, match="bytes long"):
            await finder.checkpoint("64094", "model", BOTH)
    assert civitai.sent_bytes <= 1 << 20


class SlowPart(PartFile):
    """On a disk that takes its time; tells whether it was closed under a write."""

    closed_while_writing = False
    writing = False

    def append(self, data: bytes | bytearray) -> None:
        self.writing = True
        time.sleep(0.2)
        super().append(data)
        self.writing = False

    def close(self) -> None:
        self.closed_while_writing |= self.writing
        super().close()


@pytest.mark.parametrize("cancels", [1, 3])
async def test_a_cancelled_download_leaves_the_part_open_until_the_write_has_ended(
    tmp_path: Path, cancels: int
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * (4 << 20)

    part = SlowPart(Place(tmp_path, "checkpoint", "1-2"), 20 << 20)
    part.open()

    async def download() -> None:
        try:
            await _store(Arrival(0, 20 << 20, "", pieces()), part, 20 << 20, lambda: None)
        finally:
            part.close()

    task = asyncio.create_task(download())
    for _ in range(cancels):
        await asyncio.sleep(0.05)
        task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert not part.closed_while_writing
    assert part.size == part._place.part.stat().st_size >= 4 << 20
