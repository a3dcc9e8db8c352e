import sys
from pathlib import Path

import pytest

from orchestrator.comfy.installation import find_installation
from orchestrator.errors import SettingsError


def checkout(folder: Path, venv: str = ".venv") -> Path:
    (folder / venv / "bin").mkdir(parents=True)
    (folder / venv / "bin" / "python").symlink_to(sys.executable)
    (folder / "main.py").touch()
    (folder / "comfyui_version.py").write_text('__version__ = "0.3.64"\n')
    return folder


def test_a_checkout_that_is_named_is_taken_with_the_venv_in_it(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "ComfyUI")
    found = find_installation(folder, None)
    assert (found.folder, found.python, found.version) == (folder, folder / ".venv/bin/python", "0.3.64")


def test_comfy_clis_own_place_is_found(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "comfy" / "ComfyUI")
    assert find_installation(None, None, home=tmp_path).folder == folder


@pytest.mark.skipif(sys.platform == "darwin", reason="comfy-cli keeps its settings elsewhere there")
def test_the_workspace_that_comfy_cli_remembers_goes_before_its_default(tmp_path: Path) -> None:
    checkout(tmp_path / "comfy" / "ComfyUI")
    elsewhere = checkout(tmp_path / "elsewhere", "venv")
    (tmp_path / ".config/comfy-cli").mkdir(parents=True)
    (tmp_path / ".config/comfy-cli/config.ini").write_text(f"[DEFAULT]\ndefault_workspace = {elsewhere}\n")
    assert find_installation(None, None, home=tmp_path).folder == elsewhere


def test_what_is_not_there_is_said_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no main\.py.*comfy/ComfyUI; set `folder`"):
        find_installation(None, None, home=tmp_path)
    (tmp_path / "main.py").touch()
    with pytest.raises(SettingsError, match="set `python`"):
        find_installation(tmp_path, None)
    with pytest.raises(SettingsError, match="no program"):
        find_installation(tmp_path, tmp_path / "python9")
