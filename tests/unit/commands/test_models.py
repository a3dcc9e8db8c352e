"""`orchestrator models …` as the operator types it, against the stand-in for Civitai."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.cli import main
from orchestrator.models.layout import Place
from orchestrator.models.shelf import Shelf
from tests.fakes.civitai import FakeCivitai, Fixture
from tests.unit.models.supply import checkpoint_file, lora_file

BODY = checkpoint_file(10_000)


@pytest.fixture
async def config(tmp_path: Path) -> AsyncIterator[Path]:
    fixtures = (Fixture(64094, BODY), Fixture(7, lora_file(), type="LORA"))
    async with FakeCivitai(*fixtures) as fake:
        given = {"data": str(tmp_path), "civitai_url": fake.url, "civitai_hosts": fake.hosts, "disk_floor_gb": 0}
        file = tmp_path / "config.yaml"
        file.write_text(json.dumps(given))  # JSON is YAML
        yield file


async def models(config: Path, *arguments: str) -> int:
    # In a thread, because each command has an event loop of its own.
    return await asyncio.to_thread(main, ["models", *arguments, "--config", str(config)])


async def test_get_fetches_and_list_tells(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await models(config, "get", "64094") == 0
    assert "sd15" in capsys.readouterr().out
    assert await models(config, "get", "7", "--lora", "64094") == 0
    assert await models(config, "list") == 0
    listed = capsys.readouterr().out
    assert "64094-1064094" in listed
    assert "7-1000007" in listed
    assert "Model 64094 v1.0 (sd15; SD 1.5)" in listed


async def test_pin_unpin_and_rm(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await models(config, "get", "64094")
    place = Place(config.parent / "models", "checkpoint", "64094-1064094")
    assert await models(config, "pin", "64094") == 0
    assert place.kept.exists()
    await models(config, "list")
    assert "pinned" in capsys.readouterr().out
    assert await models(config, "unpin", "64094-1064094") == 0
    assert not place.kept.exists()
    pin = Shelf(config.parent / "models").try_pin(place)
    assert pin is not None
    with pin:
        assert await models(config, "rm", "64094") == 2
        assert "in use" in capsys.readouterr().err
    assert await models(config, "rm", "64094") == 0
    assert not place.file.exists()


async def test_an_unknown_name_is_told_and_nothing_is_done(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await models(config, "get", "64094")
    assert await models(config, "rm", "64094", "9") == 2
    assert "there are: 64094-1064094" in capsys.readouterr().err
    assert (config.parent / "models" / "checkpoints" / "64094-1064094.safetensors").exists()


@pytest.mark.parametrize("harm", ["flip", "cut"])
async def test_verify_finds_damage_and_repair_lets_it_be_fetched_anew(
    config: Path, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    await models(config, "get", "64094")
    file = config.parent / "models" / "checkpoints" / "64094-1064094.safetensors"
    assert await models(config, "verify") == 0
    if harm == "flip":
        file.write_bytes(BODY[:-1] + bytes([BODY[-1] ^ 1]))
    else:
        os.truncate(file, len(BODY) - 1)
    assert await models(config, "verify", "64094", "--repair") == 1
    assert "64094-1064094: its SHA-256" in (out := capsys.readouterr().out) or "bytes long" in out
    assert not file.exists()
    assert await models(config, "get", "64094") == 0
    assert file.read_bytes() == BODY


async def test_a_refusal_is_one_sentence_with_the_mend(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await models(config, "get", "2064094") == 2
    assert "give one of its versions: 64094" in capsys.readouterr().err


async def test_what_was_set_aside_is_listed_and_can_be_removed(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await models(config, "get", "64094")
    place = Place(config.parent / "models", "checkpoint", "64094-1064094")
    os.truncate(place.file, 1000)
    assert await models(config, "verify", "--repair") == 1
    capsys.readouterr()
    assert await models(config, "list") == 0
    assert "damaged    64094-1064094" in capsys.readouterr().out
    assert await models(config, "rm", "64094-1064094") == 0
    assert not place.damaged.exists()


async def test_repair_skips_what_is_in_use_and_reports_what_was_put_there_by_hand(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await models(config, "get", "64094")
    place = Place(config.parent / "models", "checkpoint", "64094-1064094")
    os.truncate(place.file, 1000)
    by_hand = place.file.with_name("mine.safetensors")
    by_hand.write_bytes(b"no model at all")
    pin = Shelf(config.parent / "models").try_pin(place)
    assert pin is not None
    with pin:
        assert await models(config, "verify", "--repair") == 1
    told = capsys.readouterr().out
    assert "64094-1064094: skipped: 64094-1064094 is in use" in told
    assert "mine: it was put there by hand" in told
    assert place.file.exists()
    assert by_hand.exists()


async def test_names_that_no_terminal_should_get_and_links_to_nowhere_are_listed(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await models(config, "get", "64094")
    folder = config.parent / "models" / "checkpoints"
    origin = folder / "64094-1064094.json"
    origin.write_text(json.dumps(json.loads(origin.read_text()) | {"title": "a\x1b[2J\ud800b"}))
    (folder / "nowhere.safetensors").symlink_to(folder / "gone")
    assert await models(config, "list") == 0
    listed = capsys.readouterr().out
    assert "a\\x1b[2J\\ud800b" in listed
    assert "nowhere" in listed
    assert await models(config, "verify") == 1
    assert "nowhere: there is no file" in capsys.readouterr().out


async def test_a_lora_is_told_by_its_own_path(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await models(config, "get", "7", "--lora", "64094") == 0
    assert capsys.readouterr().out.strip() == f"sd15 {config.parent / 'models' / 'loras' / '7-1000007.safetensors'}"
