import os
import time
import uuid
from functools import partial
from pathlib import Path

import pytest

from orchestrator.errors import StorageError
from orchestrator.images.inputs import InputFiles

NAME = "a" * 64 + ".png"


def file(folder: Path, job_id: str) -> Path:
    return folder / "inputs" / f"{job_id}.{NAME}"


def jobs_in(folder: Path) -> set[str]:
    return {path.name.partition(".")[0] for path in (folder / "inputs").iterdir()}


async def test_a_jobs_pictures_stay_until_they_are_dropped(tmp_path: Path) -> None:
    one, two = str(uuid.uuid4()), str(uuid.uuid4())
    inputs = InputFiles(tmp_path / "inputs")
    await inputs.keep(one, {NAME: b"one"})
    await InputFiles(tmp_path / "inputs").keep(two, {NAME: b"two"})
    assert await inputs.read(two, [NAME]) == {NAME: b"two"}
    await inputs.drop(one)
    with pytest.raises(StorageError, match="gone"):
        await inputs.read(one, [NAME])
    assert await inputs.read(two, [NAME]) == {NAME: b"two"}


async def test_pictures_are_their_owners_alone_where_others_may_pass_through_the_data_folder(tmp_path: Path) -> None:
    await InputFiles(tmp_path / "inputs").keep(str(uuid.uuid4()), {NAME: b"one"})
    assert (tmp_path / "inputs").stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "inputs").iterdir()] == [0o600]


async def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    inputs = InputFiles(tmp_path / "inputs")
    for job_id, name in (("..", NAME), (str(uuid.uuid4()), "../x.png")):
        with pytest.raises(StorageError, match="no name"):
            await inputs.read(job_id, [name])
        with pytest.raises(StorageError, match="no name"):
            await inputs.keep(job_id, {name: b""})


async def known(*job_ids: str) -> frozenset[str]:
    return frozenset(job_ids)


async def test_the_sweep_takes_what_is_old_and_of_no_job_that_is_kept(tmp_path: Path) -> None:
    inputs = InputFiles(tmp_path / "inputs", limit_bytes=100)
    unfinished, ended, forgotten, fresh = (str(uuid.uuid4()) for _ in range(4))
    for job_id in (unfinished, ended, forgotten, fresh):
        await inputs.keep(job_id, {NAME: b"x"})
    for job_id in (unfinished, ended, forgotten):
        os.utime(file(tmp_path, job_id), (time.time() - 100,) * 2)
    await inputs.end(ended)
    assert await inputs.sweep(partial(known, unfinished, ended), partial(known, unfinished)) == 1
    assert jobs_in(tmp_path) == {unfinished, ended, fresh}


async def test_of_ended_jobs_the_oldest_pictures_go_when_there_is_no_room(tmp_path: Path) -> None:
    inputs = InputFiles(tmp_path / "inputs", limit_bytes=25)
    jobs = [str(uuid.uuid4()) for _ in range(5)]
    for age, job_id in enumerate(jobs):
        await inputs.keep(job_id, {NAME: b"0123456789"})
        os.utime(file(tmp_path, job_id), (time.time() - 100 - age,) * 2)
    oldest = jobs[-1]  # which still runs
    assert await inputs.sweep(partial(known, *jobs), partial(known, oldest)) == 2
    assert jobs_in(tmp_path) == {*jobs[:2], oldest}


async def test_without_room_pictures_go_when_their_job_ends(tmp_path: Path) -> None:
    inputs = InputFiles(tmp_path / "inputs")
    job_id = str(uuid.uuid4())
    await inputs.keep(job_id, {NAME: b"x"})
    await inputs.end(job_id)
    assert not list((tmp_path / "inputs").iterdir())


async def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "inputs").write_text("a file")
    with pytest.raises(StorageError, match="could not be written"):
        await InputFiles(tmp_path / "inputs").keep(str(uuid.uuid4()), {NAME: b"x"})


async def test_a_failure_leaves_the_pictures_that_another_request_has_written(tmp_path: Path) -> None:
    inputs, job_id, other = InputFiles(tmp_path / "inputs"), str(uuid.uuid4()), "b" * 64
    await inputs.keep(job_id, {NAME: b"x"})
    written = file(tmp_path, job_id).stat()
    (tmp_path / "inputs" / f"{job_id}.{other}.part").mkdir()
    with pytest.raises(StorageError, match="could not be written"):
        await inputs.keep(job_id, {NAME: b"x", f"{other}.png": b"y"})
    assert file(tmp_path, job_id).stat() == written


async def test_pictures_that_an_earlier_version_kept_in_folders_are_found_and_swept(tmp_path: Path) -> None:
    needed, forgotten = str(uuid.uuid4()), str(uuid.uuid4())
    for job_id in (needed, forgotten):
        (tmp_path / "inputs" / job_id).mkdir(parents=True)
        (tmp_path / "inputs" / job_id / NAME).write_bytes(b"old")
        os.utime(tmp_path / "inputs" / job_id / NAME, (0, 0))
    inputs = InputFiles(tmp_path / "inputs")
    assert await inputs.read(needed, [NAME]) == {NAME: b"old"}
    assert await inputs.sweep(partial(known, needed), partial(known, needed)) == 1
    assert list((tmp_path / "inputs").iterdir()) == [file(tmp_path, needed)]
    assert file(tmp_path, needed).stat().st_mode & 0o777 == 0o600
