"""Finds a ComfyUI on this machine and a Python that can run it. Reads files; starts nothing.

Where nothing is said, it is looked for where `comfy-cli`, ComfyUI's own installer, says in its settings that it put
one, and where it puts one by default.
"""

import configparser
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import SettingsError

_VERSION = re.compile(r"__version__\s*=\s*[\"']([^\"']+)")


@dataclass(frozen=True)
class Installation:
    """A ComfyUI: the folder with its `main.py`, and the Python that runs it."""

    folder: Path
    python: Path

    @property
    def version(self) -> str:
        """As the folder says; empty where it says nothing."""
        try:
            found = _VERSION.search((self.folder / "comfyui_version.py").read_text())
        except (OSError, UnicodeDecodeError):
            return ""
        return found[1] if found else ""


def find_installation(folder: Path | None, python: Path | None, home: Path | None = None) -> Installation:
    """The ComfyUI in `folder`, or the one that comfy-cli installed for the user whose home is `home`.

    Raises SettingsError that says where was looked.
    """
    looked = [folder.expanduser()] if folder is not None else list(_usual_folders(home or Path.home()))
    found = next((one for one in looked if (one / "main.py").is_file()), None)
    if found is None:
        places = " nor ".join(map(str, dict.fromkeys(looked)))
        raise SettingsError(
            f"There is no ComfyUI (no main.py) in {places}; set `folder` of the backend to its checkout"
        )
    return Installation(found.resolve(), _python(found, python))


def _python(folder: Path, given: Path | None) -> Path:
    if given is not None:
        # Not resolved: a venv's python is a link, and knows its venv by the path that it is called by.
        if shutil.which(given.expanduser()) is None:
            raise SettingsError(f"`python` of the backend is {given}, which is no program")
        return given.expanduser().absolute()
    for venv in (folder / ".venv", folder / "venv", folder.parent / ".venv", folder.parent / "venv"):
        for program in (venv / "bin" / "python", venv / "Scripts" / "python.exe"):
            if program.is_file():
                return program.absolute()
    raise SettingsError(f"There is no .venv or venv in {folder} or beside it; set `python` of the backend")


def _usual_folders(home: Path) -> Iterator[Path]:
    mac = sys.platform == "darwin"
    settings = home / "Library/Application Support/comfy-cli" if mac else home / ".config/comfy-cli"
    read = configparser.ConfigParser()
    try:
        read.read(settings / "config.ini")
    except (configparser.Error, UnicodeDecodeError):
        read = configparser.ConfigParser()
    for key in ("default_workspace", "recent_workspace"):
        named = read.defaults().get(key)
        if named:
            yield Path(named)
    yield home / ("Documents/comfy" if mac else "comfy") / "ComfyUI"
