"""The image store: whole files, names that cannot be guessed, an end for each, and a limit."""

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ImageNotFound, StorageError, StorageFull
from orchestrator.images.store import ImageStore, new_name


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def made(folder: Path, clock: Clock, **changes: float) -> ImageStore:
    limits: dict[str, float] = {"limit_bytes": 1000, "floor_bytes": 0, "lifetime": 100, "sweep_every": 60} | changes
    return ImageStore(folder / "images", clock=clock, **limits)  # type: ignore[arg-type]


async def test_an_image_is_found_again_by_its_key(tmp_path: Path, clock: Clock) -> None:
    async with made(tmp_path, clock) as store:
        put = await store.put(b"jpeg bytes", "image/jpeg")
        assert put == await store.open(put.key)
        assert put.path.read_bytes() == b"jpeg bytes"
        assert (put.size, put.content_type, put.expires_at) == (10, "image/jpeg", clock.now + 100)
        assert (await store.open((await store.put(b"", "image/png")).key)).content_type == "image/png"


async def test_what_was_put_under_a_name_can_be_dropped_and_no_more(tmp_path: Path, clock: Clock) -> None:
    async with made(tmp_path, clock) as store:
        name = new_name()
        dropped, other = await store.put(b"one", "image/png", name), await store.put(b"three", "image/png")
        await store.drop(name)
        await store.drop(name)
        with pytest.raises(ImageNotFound):
            await store.open(dropped.key)
        assert await store.open(other.key) == other
        assert store.used_bytes == 5


async def test_keys_are_long_and_never_the_same(tmp_path: Path, clock: Clock) -> None:
    async with made(tmp_path, clock) as store:
        keys = {(await store.put(b"", "image/png")).key.split(".")[0] for _ in range(50)}
        assert len(keys) == 50
        assert all(len(key) == 32 for key in keys)


async def test_an_expired_image_is_gone_at_once_and_its_file_with_the_sweep(tmp_path: Path, clock: Clock) -> None:
    async with made(tmp_path, clock) as store:
        put = await store.put(b"x" * 900, "image/png")
        clock.now += 100
        with pytest.raises(ImageNotFound):
            await store.open(put.key)
        assert await store.sweep() == 1
        assert not put.path.exists()
        assert store.used_bytes == 0


async def test_expiry_and_use_are_known_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    async with made(tmp_path, clock) as store:
        old = await store.put(b"old", "image/png")
        clock.now += 50
        new = await store.put(b"newer", "image/png")
    os.utime(new.path, (0, 0))  # a restored backup has other times
    clock.now += 60
    async with made(tmp_path, clock) as store:
        assert (await store.open(new.key)).expires_at == new.expires_at
        assert store.used_bytes == 5
        assert not old.path.exists()


async def test_the_sweeper_works_by_itself(tmp_path: Path, clock: Clock) -> None:
    async with made(tmp_path, clock, sweep_every=0.01) as store:
        put = await store.put(b"x", "image/png")
        clock.now += 101
        async with asyncio.timeout(5):
            while put.path.exists():
                await asyncio.sleep(0.01)


async def test_a_failed_sweep_is_logged_and_tried_again(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with made(tmp_path, clock, sweep_every=0.01) as store:
        put = await store.put(b"x", "image/png")
        (tmp_path / "images").rename(tmp_path / "away")
        async with asyncio.timeout(5):
            while "sweeping the image store failed" not in caplog.text:
                await asyncio.sleep(0.01)
            (tmp_path / "away").rename(tmp_path / "images")
            clock.now += 101
            while put.path.exists():
                await asyncio.sleep(0.01)


async def test_temporary_files_of_a_service_that_died_are_swept_and_other_files_are_not(
    tmp_path: Path, clock: Clock
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    part = folder / f".{'a' * 32}.1700000000.jpg.0123abcd.part"
    fresh = folder / f".{'b' * 32}.1700000000.jpg.0123abcd.part"
    note = folder / "README.txt"
    for file, age in ((part, 4000), (fresh, 10), (note, 10**6)):
        file.write_bytes(b"123")
        os.utime(file, (clock.now - age, clock.now - age))
    async with made(tmp_path, clock) as store:
        assert not part.exists()
        assert fresh.exists()
        assert note.exists()
        assert store.used_bytes == 3


async def test_no_room_is_said_before_a_job_and_by_put(tmp_path: Path, clock: Clock) -> None:
    async with made(tmp_path, clock) as store:
        await store.put(b"x" * 600, "image/png")
        store.ensure_room(400)
        with pytest.raises(StorageFull):
            store.ensure_room(401)
        with pytest.raises(StorageFull):
            await store.put(b"x" * 401, "image/png")
        assert store.used_bytes == 600
        clock.now += 101
        await store.sweep()
        await store.put(b"x" * 1000, "image/png")


async def test_many_puts_at_once_do_not_pass_the_limit(tmp_path: Path, clock: Clock) -> None:
    async with made(tmp_path, clock) as store:
        results = await asyncio.gather(*(store.put(b"x" * 300, "image/png") for _ in range(8)), return_exceptions=True)
        assert sum(isinstance(result, StorageFull) for result in results) == 5
        assert sum(file.stat().st_size for file in (tmp_path / "images").iterdir()) == 900


async def test_the_disk_s_floor_is_kept(tmp_path: Path, clock: Clock) -> None:
    async with made(tmp_path, clock, floor_bytes=10**18) as store:
        with pytest.raises(StorageFull, match="disk"):
            store.ensure_room(1)


async def test_a_folder_that_is_gone_is_a_storage_error_and_counts_nothing(tmp_path: Path, clock: Clock) -> None:
    async with made(tmp_path, clock) as store:
        (tmp_path / "images").rmdir()
        (tmp_path / "images").write_text("a file where the folder was")
        with pytest.raises(StorageError):
            await store.put(b"x", "image/png")
        assert store.used_bytes == 0


async def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "images").write_text("a file")
    with pytest.raises(StorageError):
        await made(tmp_path, clock).__aenter__()


@pytest.mark.parametrize(
    "key",
    [
        "",
        ".",
        "..",
        "../secret",
        "/etc/passwd",
        "a/b",
        "README.txt",
        f"{'a' * 32}.99999999999.exe",
        f"{'a' * 32}.9999999999.jpg\n",
        f"../{'a' * 29}.9999999999.jpg",
        f"{'a' * 32}.9999999999.jpg",
        f"{'é' * 32}.9999999999.jpg",
        f"{'a' * 32}.٩٩٩٩٩٩٩٩٩٩.jpg",
        "\0",
    ],
)
async def test_what_is_no_key_leads_nowhere(tmp_path: Path, clock: Clock, key: str) -> None:
    (tmp_path / "secret").write_text("secret")
    async with made(tmp_path, clock) as store:
        (tmp_path / "images" / "README.txt").write_text("not an image")
        with pytest.raises(ImageNotFound):
            await store.open(key)


@given(st.text())
def test_no_text_makes_a_key_outside_the_folder(text: str) -> None:
    async def probe() -> None:
        with pytest.raises(ImageNotFound):
            await ImageStore(Path("/nowhere"), limit_bytes=1).open(text)

    asyncio.run(probe())


async def test_nothing_but_whole_images_is_ever_under_a_key(tmp_path: Path, clock: Clock) -> None:
    async with made(tmp_path, clock, limit_bytes=10**9) as store:
        data = b"x" * 5_000_000
        writing = asyncio.ensure_future(store.put(data, "image/png"))
        while not writing.done():
            for file in (tmp_path / "images").iterdir():
                if not file.name.startswith("."):
                    assert file.stat().st_size == len(data)
            await asyncio.sleep(0)
        assert [file.name for file in (tmp_path / "images").iterdir()] == [(await writing).key]


async def test_an_image_is_found_by_the_name_that_it_was_put_under(tmp_path: Path) -> None:
    async with ImageStore(tmp_path, limit_bytes=1000, floor_bytes=0) as store:
        name = new_name()
        assert await store.find(name) is None
        kept = await store.put(b"x", "image/png", name)
        assert await store.find(name) == kept
        assert await store.find(new_name()) is None
