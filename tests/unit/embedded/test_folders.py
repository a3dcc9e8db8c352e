"""Files stay in their folders, and temporary ones go."""

import os
import time
from pathlib import Path

import pytest

from orchestrator.embedded.folders import Folders, OutsideFolder, within


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "link/x"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside/link").symlink_to(tmp_path)
    with pytest.raises(OutsideFolder):
        within(tmp_path / "inside", name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.png", "input/a.png"), ("b/a.png [temp]", "temp/b/a.png"), ("a.png[output]", "output/a.png")],
)
def test_a_picture_is_named_with_its_folder(tmp_path: Path, name: str, expected: str) -> None:
    folders = Folders(tmp_path, tmp_path)
    folders.prepare()
    assert folders.annotated(name) == tmp_path.resolve() / expected


def test_folders_of_pictures_are_their_owners_alone(tmp_path: Path) -> None:
    Folders(tmp_path, tmp_path / "root", tmp_path / "editor").prepare()
    made = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert len(made) == 7
    assert {path.stat().st_mode & 0o777 for path in made} == {0o700}


def test_models_are_named_below_their_folder(tmp_path: Path) -> None:
    for name in ("b.safetensors", "deep/a.safetensors", "notes.txt"):
        file = tmp_path / "loras" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    folders = Folders(tmp_path, tmp_path)
    assert folders.model_names("loras") == ("b.safetensors", "deep/a.safetensors")
    assert folders.model_names("checkpoints") == ()
    with pytest.raises(FileNotFoundError):
        folders.model("loras", "c.safetensors")


def test_only_old_temporary_files_are_swept(tmp_path: Path) -> None:
    folders = Folders(tmp_path, tmp_path)
    folders.prepare()
    old, new, kept = (tmp_path / name for name in ("temp/deep/old.png", "temp/new.png", "output/old.png"))
    for file in (old, new, kept):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"")
    for file in (old, kept):
        os.utime(file, (0, time.time() - 4000))
    assert folders.sweep(3600) == 1
    assert (old.exists(), new.exists(), kept.exists()) == (False, True, True)
