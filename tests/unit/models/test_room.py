"""The budget: who has to go, who never does, and that processes add up."""

import asyncio
import errno
import logging
import os
import random
import shutil
from pathlib import Path

import pytest

from orchestrator.errors import ShelfFull, StorageError
from orchestrator.models.layout import Place, stem_of
from orchestrator.models.locks import FileLock
from orchestrator.models.origin import Origin, write_origin
from orchestrator.models.part import disk_errors
from orchestrator.models.room import Room, fetched
from orchestrator.models.shelf import Shelf
from tests.fakes.civitai import FakeCivitai, Fixture
from tests.unit.models.supply import BOTH, checkpoint_file, supplied

SIZE = 1000


def put(root: Path, number: int, used_at: float, size: int = SIZE) -> Place:
    """A fetched file that was last used then."""
    place = Place(root, "checkpoint", stem_of(number, 1))
    place.file.parent.mkdir(parents=True, exist_ok=True)
    place.file.write_bytes(b"x" * size)
    write_origin(
        place.origin, Origin(number, 1, None, "t", "", "sd15", "eps", True, (), size, "0" * 64, "SHA256", "", 0.0)
    )
    place.pin_lock.parent.mkdir(exist_ok=True)
    place.pin_lock.touch()
    os.utime(place.pin_lock, (used_at, used_at))
    return place


def there(root: Path) -> set[int]:
    return {file.origin.version_id for file in fetched(root)}


def new(root: Path, number: int = 99) -> Place:
    return Place(root, "checkpoint", stem_of(number, 1))


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    for number, used_at in ((1, 300.0), (2, 100.0), (3, 200.0)):
        put(tmp_path, number, used_at)
    Room(tmp_path, 3 * SIZE, 0).reserve(new(tmp_path), SIZE)
    assert there(tmp_path) == {1, 3}


def test_what_fits_sends_nobody_away(tmp_path: Path) -> None:
    put(tmp_path, 1, 100.0)
    Room(tmp_path, 2 * SIZE, 0).reserve(new(tmp_path), SIZE)
    assert there(tmp_path) == {1}


def test_what_is_pinned_kept_or_put_there_by_hand_stays(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    pinned, kept = put(tmp_path, 1, 100.0), put(tmp_path, 2, 200.0)
    put(tmp_path, 3, 300.0)
    by_hand = tmp_path / "checkpoints" / "mine.safetensors"
    by_hand.write_bytes(b"x" * SIZE)
    shelf.keep(kept, True)
    pin = shelf.try_pin(pinned)
    assert pin is not None
    with pin:
        Room(tmp_path, 3 * SIZE, 0).reserve(new(tmp_path), SIZE)
        assert there(tmp_path) == {1, 2}
        with pytest.raises(ShelfFull, match="in use or kept"):
            Room(tmp_path, 3 * SIZE, 0).reserve(new(tmp_path, 98), 2 * SIZE)
        assert there(tmp_path) == {1, 2}
    assert by_hand.exists()
    shelf.keep(kept, False)
    Room(tmp_path, 3 * SIZE, 0).reserve(new(tmp_path, 98), 3 * SIZE)
    assert there(tmp_path) == set()


def test_a_refusal_deletes_nothing(tmp_path: Path) -> None:
    put(tmp_path, 1, 100.0)
    with pytest.raises(ShelfFull, match="raise shelf_gb"):
        Room(tmp_path, 2 * SIZE, 0).reserve(new(tmp_path), 3 * SIZE)
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(ShelfFull):
        Room(tmp_path, 2 * SIZE, 2 * free).reserve(new(tmp_path), SIZE)
    assert there(tmp_path) == {1}


def test_downloads_on_their_way_count_with_their_whole_size(tmp_path: Path) -> None:
    put(tmp_path, 1, 100.0)
    room = Room(tmp_path, 2 * SIZE, 0)
    lock = FileLock.try_exclusive(new(tmp_path).part_lock)
    assert lock is not None
    with lock:
        room.reserve(new(tmp_path), SIZE)
        assert there(tmp_path) == {1}
        room.reserve(new(tmp_path, 98), SIZE)
        assert there(tmp_path) == set()


def test_a_download_that_nobody_goes_on_with_goes_before_any_model(tmp_path: Path) -> None:
    put(tmp_path, 1, 100.0)
    dead = new(tmp_path, 5)
    Room(tmp_path, 3 * SIZE, 0).reserve(dead, SIZE)
    dead.part.write_bytes(b"x" * SIZE)
    Room(tmp_path, 2 * SIZE, 0).reserve(new(tmp_path), SIZE)
    assert there(tmp_path) == {1}
    assert not dead.part.exists()


def test_a_file_in_use_is_not_removed_by_the_operator_either(tmp_path: Path) -> None:
    shelf, place = Shelf(tmp_path), put(tmp_path, 1, 100.0)
    pin = shelf.try_pin(place)
    assert pin is not None
    with pin, pytest.raises(StorageError, match="in use"):
        shelf.remove(place)
    shelf.remove(place)
    assert there(tmp_path) == set()


@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, ShelfFull), (errno.EDQUOT, ShelfFull), (errno.EROFS, StorageError)]
)
def test_a_disk_that_fails_is_a_storage_error(number: int, error: type[StorageError]) -> None:
    with pytest.raises(error) as caught, disk_errors():
        raise OSError(number, "no")
    assert type(caught.value) is error


async def test_three_of_four_models_fit_and_none_in_use_ever_leaves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Four models in rotation through a budget of three, by two processes' worth of finders with eight jobs at once."""
    bodies = {number: checkpoint_file(200_000, str(number)) for number in (1, 2, 3, 4)}
    budget = 3 * max(map(len, bodies.values()))
    dice = random.Random(4)
    caplog.set_level(logging.INFO)
    async with (
        FakeCivitai(*(Fixture(number, body) for number, body in bodies.items())) as fake,
        supplied(fake, tmp_path, budget=budget, room_patience=30.0) as first,
        supplied(fake, tmp_path, budget=budget, room_patience=30.0) as second,
    ):

        async def jobs(turn: int) -> None:
            for _ in range(12):
                number = dice.choice((1, 2, 3, 4))
                finder = (first, second)[turn % 2]
                file = await finder.checkpoint(str(number), "model", BOTH)
                async with finder.hold([file], lambda _: None):
                    for _ in range(3):
                        assert file.place.file.read_bytes() == bodies[number]
                        assert sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors")) <= budget
                        await asyncio.sleep(dice.random() * 0.01)

        await asyncio.gather(*map(jobs, range(8)))
        evictions = [record for record in caplog.records if "leaves the shelf to make room" in record.getMessage()]
        assert len(evictions) >= 3, "next to nothing was ever evicted: the test shows nothing"
    assert len(there(tmp_path)) <= 3


def test_a_damaged_file_in_use_stays_where_it_is(tmp_path: Path) -> None:
    shelf, place = Shelf(tmp_path), put(tmp_path, 1, 100.0)
    os.truncate(place.file, SIZE - 1)
    pin = shelf.try_pin(place)
    assert pin is not None
    with pin:
        with pytest.raises(StorageError, match="in use"):
            shelf.set_aside(place)
        assert shelf.survey().damaged == ()
        assert place.file.exists()
    assert shelf.survey().damaged == (place.stem,)
    assert not place.file.exists()


def test_what_was_set_aside_counts_and_is_the_first_to_go(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    put(tmp_path, 1, 100.0)
    bad = put(tmp_path, 2, 200.0)
    shelf.set_aside(bad)
    pin = shelf.try_pin(bad)  # as the job has it that fetches the file anew
    assert pin is not None
    with pin:
        Room(tmp_path, 3 * SIZE, 0).reserve(bad, SIZE)
        assert bad.damaged.exists()
        Room(tmp_path, 2 * SIZE, 0).reserve(bad, SIZE)
    assert not bad.damaged.exists()
    assert there(tmp_path) == {1}


def test_a_damaged_file_makes_way_for_the_one_that_replaces_it(tmp_path: Path) -> None:
    shelf, place = Shelf(tmp_path), put(tmp_path, 1, 100.0)
    os.truncate(place.file, SIZE - 1)
    pin = shelf.try_pin(place)
    assert pin is not None
    with pin:
        Room(tmp_path, SIZE, 0).reserve(place, SIZE)


def test_the_floor_counts_what_other_downloads_have_still_to_bring(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    size = free // 4
    room = Room(tmp_path, 10 * free, free - size - size // 2)
    lock = FileLock.try_exclusive(new(tmp_path).part_lock)
    assert lock is not None
    with lock:
        room.reserve(new(tmp_path), size)
        with pytest.raises(ShelfFull):
            room.reserve(new(tmp_path, 98), size)
    room.reserve(new(tmp_path, 98), size)
