"""The folders of a ComfyUI that the service starts."""

from pathlib import Path

from orchestrator.comfy.installation import Installation
from orchestrator.comfy.managed import ManagedSetup


def test_its_folders_are_its_owners_alone_also_one_that_was_there(tmp_path: Path) -> None:
    home = tmp_path / "backends" / "gpu"
    (home / "temp" / "orchestrator").mkdir(parents=True)
    home.chmod(0o755)
    ManagedSetup("gpu", Installation(tmp_path, tmp_path), home, tmp_path, tmp_path).prepare()
    folders = [home, *(path for path in home.iterdir() if path.is_dir())]
    assert {folder.name: folder.stat().st_mode & 0o777 for folder in folders} == dict.fromkeys(
        ("gpu", "input", "output", "temp", "user"), 0o700
    )
