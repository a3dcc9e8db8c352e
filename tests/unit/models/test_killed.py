"""Processes that are killed in the middle, and processes that share a shelf."""

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

from orchestrator.models.shelf import Shelf
from tests.fakes.civitai import FakeCivitai, Fixture
from tests.unit.models.supply import BOTH, checkpoint_file, fetch, supplied

BODY = checkpoint_file()
MOMENTS = 20


async def start(fake: FakeCivitai, root: Path) -> asyncio.subprocess.Process:
    """A process that fetches 64094, from the moment that it has found what to fetch."""
    command = [sys.executable, "-m", "tests.unit.models.fetching", fake.url, fake.cdn_url, str(root), "64094"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"found\n"
    return process


async def test_killed_at_twenty_moments_nothing_bad_is_ever_served_and_the_next_start_finishes(tmp_path: Path) -> None:
    dice = random.Random(20)
    took = 0.35
    partial = resumed = 0
    async with FakeCivitai(Fixture(64094, BODY, pause=took / (len(BODY) / 65536))) as fake:
        for moment in range(MOMENTS):
            root = tmp_path / str(moment)
            process = await start(fake, root)
            await asyncio.sleep(dice.random() * took * 1.3)
            if process.returncode is None:
                os.kill(process.pid, signal.SIGKILL)
            await process.wait()
            for path in root.rglob("*.safetensors"):
                assert path.read_bytes() == BODY
            survey = Shelf(root).survey()
            assert not survey.damaged
            partial += bool(survey.partial and survey.partial[0][1])
            async with supplied(fake, root) as finder:
                assert (await fetch(finder, "64094")).read_bytes() == BODY
            resumed += fake.ranges[-1] not in ("", "bytes=0-", f"bytes=0-{2**20 - 1}")
    assert partial >= MOMENTS // 4, "too few were killed in the middle to show anything"
    assert resumed >= partial - 2


async def test_a_process_takes_over_from_one_that_was_killed_while_it_waited(tmp_path: Path) -> None:
    async with FakeCivitai(Fixture(64094, BODY, pause=0.05)) as fake:
        process = await start(fake, tmp_path)
        async with supplied(fake, tmp_path) as finder:
            waiting = asyncio.create_task(fetch(finder, "64094"))
            await asyncio.sleep(0.6)
            fake.fixtures[64094].pause = 0
            process.kill()
            assert (await waiting).read_bytes() == BODY
        await process.wait()
    assert fake.ranges[-1].startswith("bytes=")
    assert fake.ranges[-1] != "bytes=0-"


async def test_a_file_that_another_process_uses_is_not_evicted(tmp_path: Path) -> None:
    one, two = checkpoint_file(300_000, "1"), checkpoint_file(300_000, "2")
    async with (
        FakeCivitai(Fixture(1, one), Fixture(2, two)) as fake,
        supplied(fake, tmp_path, budget=len(one) + 100) as ours,
        supplied(fake, tmp_path, budget=len(one) + 100, room_patience=0.5) as theirs,
    ):
        file = await ours.checkpoint("1", "model", BOTH)
        async with ours.hold([file], lambda _: None):
            second = asyncio.create_task(fetch(theirs, "2"))
            await asyncio.wait({second})
            assert "in use" in str(second.exception())
            assert file.place.file.read_bytes() == one
        assert (await fetch(theirs, "2")).read_bytes() == two
        assert not file.place.file.exists()


async def test_three_processes_that_want_the_same_file_fetch_it_once(tmp_path: Path) -> None:
    async with FakeCivitai(Fixture(64094, BODY, pause=0.02)) as fake:
        processes = await asyncio.gather(*(start(fake, tmp_path) for _ in range(3)))
        assert [await process.wait() for process in processes] == [0, 0, 0]
    assert fake.requests["delivery"] == 4  # a look each, and one file
    assert fake.sent_bytes < len(BODY) + 3 * (1 << 20) + 1
