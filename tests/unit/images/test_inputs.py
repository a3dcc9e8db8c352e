import os
import time
import uuid
from pathlib import Path

import pytest

from orchestrator.errors import StorageError
from orchestrator.images.inputs import InputFiles

NAME = "a" * 64 + ".png"


async def test_a_jobs_pictures_stay_until_they_are_dropped(tmp_path: Path) -> None:
    one, two = str(uuid.uuid4()), str(uuid.uuid4())
    inputs = InputFiles(tmp_path / "inputs")
    await inputs.keep(one, {NAME: b"one"})
    await InputFiles(tmp_path / "inputs").keep(two, {NAME: b"two"})
    assert await inputs.read(two, NAME) == b"two"
    await inputs.drop(one)
    with pytest.raises(StorageError, match="gone"):
        await inputs.read(one, NAME)
    assert await inputs.read(two, NAME) == b"two"


async def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    inputs = InputFiles(tmp_path / "inputs")
    for job_id, name in (("..", NAME), (str(uuid.uuid4()), "../x.png")):
        with pytest.raises(StorageError, match="no name"):
            await inputs.read(job_id, name)
        with pytest.raises(StorageError, match="no name"):
            await inputs.keep(job_id, {name: b""})


async def test_the_sweep_takes_what_is_old_and_of_no_unfinished_job(tmp_path: Path) -> None:
    inputs = InputFiles(tmp_path / "inputs")
    unfinished, ended, fresh = (str(uuid.uuid4()) for _ in range(3))
    for job_id in (unfinished, ended, fresh):
        await inputs.keep(job_id, {NAME: b"x"})
    for job_id in (unfinished, ended):
        os.utime(tmp_path / "inputs" / job_id, (time.time() - 100,) * 2)

    async def left() -> frozenset[str]:
        return frozenset({unfinished})

    assert await inputs.sweep(left) == 1
    assert {path.name for path in (tmp_path / "inputs").iterdir()} == {unfinished, fresh}


async def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "inputs").write_text("a file")
    with pytest.raises(StorageError, match="could not be written"):
        await InputFiles(tmp_path / "inputs").keep(str(uuid.uuid4()), {NAME: b"x"})
