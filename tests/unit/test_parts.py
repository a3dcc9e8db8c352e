"""What the service makes of its settings, part by part."""

import logging
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from orchestrator.backends import open_backends
from orchestrator.errors import SettingsError
from orchestrator.images.links import secret_file
from orchestrator.parts import sole_service
from orchestrator.settings import Settings


def test_a_data_folder_is_made_for_its_owner_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret_file(tmp_path / "first" / "link.key")
    with sole_service(tmp_path / "first"), sole_service(tmp_path / "second"):
        assert [folder.stat().st_mode & 0o777 for folder in tmp_path.iterdir()] == [0o700, 0o700]
    assert not caplog.records


def test_one_that_others_may_look_into_is_told_and_left_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o755)
    with caplog.at_level(logging.WARNING), sole_service(tmp_path):
        assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert "chmod 700" in caplog.text


def test_folders_that_an_earlier_version_made_for_all_to_read_are_mended(tmp_path: Path) -> None:
    for name in ("inputs", "backends", "editor", "models"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    with sole_service(tmp_path):
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.is_dir()}
    assert modes == {"inputs": 0o700, "backends": 0o700, "editor": 0o700, "models": 0o755}


def test_a_second_service_is_kept_off_as_long_as_the_first_lasts(tmp_path: Path) -> None:
    for _ in range(2):
        with sole_service(tmp_path), pytest.raises(SettingsError, match="Another service"), sole_service(tmp_path):
            pass


def test_a_data_folder_that_cannot_be_is_told_by_the_settings_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="data: the folder"), sole_service(tmp_path / "file" / "data"):
        pass


async def test_the_embedded_backend_finds_its_folder_empty_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "backends" / "embedded"
    left = folder / "temp" / "left_by_a_killed_service.png"
    left.parent.mkdir(parents=True)
    left.touch()
    async with AsyncExitStack() as resources:
        await open_backends(Settings(data=tmp_path), "mark", {}, resources)
        assert not left.exists()
        assert (folder / "input" / "picture.png").is_file()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
