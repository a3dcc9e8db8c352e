from contextlib import ExitStack
from pathlib import Path

from orchestrator.models.layout import Place
from orchestrator.models.locks import FileLock
from orchestrator.models.pins import Pins
from orchestrator.models.shelf import Shelf


def in_use(place: Place) -> bool:
    lock = FileLock.try_exclusive(place.pin_lock)
    if lock is not None:
        lock.close()
    return lock is None


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_file_stays_until_the_last_job_that_needs_it_has_ended(tmp_path: Path) -> None:
    pins, place = Pins(Shelf(tmp_path)), Place(tmp_path, "checkpoint", "a")
    with await pins.pin(place):
        with await pins.pin(place):
            assert in_use(place)
        assert in_use(place)
    assert not in_use(place)
    with await pins.pin(place):
        assert in_use(place)


async def test_a_thousand_jobs_for_one_file_take_one_descriptor(tmp_path: Path) -> None:
    pins, place = Pins(Shelf(tmp_path)), Place(tmp_path, "checkpoint", "a")
    before = descriptors()
    with ExitStack() as held:
        for _ in range(1000):
            held.enter_context(await pins.pin(place))
        assert descriptors() <= before + 1
    assert not in_use(place)
