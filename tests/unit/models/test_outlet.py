import hashlib
from pathlib import Path

from orchestrator.models.layout import Place
from orchestrator.models.outlet import Content, Outlet
from orchestrator.models.shelf import Shelf
from tests.fakes.civitai import FakeCivitai, Fixture
from tests.unit.models.supply import checkpoint_file, fetch, supplied

BODY = checkpoint_file(1000)
SHA256 = hashlib.sha256(BODY).hexdigest()


async def test_a_fetched_file_is_found_by_its_content_in_any_process(tmp_path: Path) -> None:
    async with FakeCivitai(Fixture(1, BODY)) as fake, supplied(fake, tmp_path) as finder:
        path = await fetch(finder, "1")
    outlet = Outlet(Shelf(tmp_path))
    assert outlet.find(SHA256) == path
    assert outlet.content(Place(tmp_path, "checkpoint", "1-1000001")) == Content(SHA256, len(BODY))
    path.write_bytes(BODY[:-1])
    assert outlet.find(SHA256) is None


def test_a_file_put_there_by_hand_is_found_once_it_was_asked_about(tmp_path: Path) -> None:
    outlet, place = Outlet(Shelf(tmp_path)), Place(tmp_path, "lora", "mine")
    place.file.parent.mkdir()
    place.file.write_bytes(BODY)
    assert outlet.find(SHA256) is None
    assert outlet.content(place) == Content(SHA256, len(BODY))
    assert outlet.find(SHA256) == place.file


def test_what_is_no_hash_is_not_looked_for(tmp_path: Path) -> None:
    outlet = Outlet(Shelf(tmp_path))
    for text in ("", "x", "../" * 21 + "x", SHA256.upper(), SHA256[:-1]):
        assert outlet.find(text) is None
