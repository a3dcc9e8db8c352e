"""The widgets while the service runs: changed folders are taken up, a faulty one leaves the old widget in place.

Looks at files; when to look, and who is told, is the owner's business.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from orchestrator.comfy.catalog import Catalog
from orchestrator.errors import WorkflowError
from orchestrator.widgets import library
from orchestrator.widgets.widget import Widget

_Stamps: TypeAlias = "Mapping[str, tuple[tuple[int, int], ...]]"
"""By folder: time of the last change and size of each of its files."""


@dataclass(frozen=True)
class Change:
    """What a look found: the widgets as they stand now, and a sentence for each folder that is new, changed or gone."""

    widgets: Mapping[str, Widget]
    taken_up: tuple[str, ...]
    refused: tuple[str, ...]


class LivingWidgets(Mapping[str, Widget]):
    """The widgets of a folder by name, as they were when the last change was adopted."""

    def __init__(self, folder: Path, catalog: Catalog) -> None:
        """Reads the folder. Raises WorkflowError as `library.load` does."""
        self._folder = folder
        self._catalog = catalog
        self._read = self._seen = _stamps(folder)
        self._widgets = library.load(folder, catalog)

    def __getitem__(self, name: str) -> Widget:
        return self._widgets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._widgets)

    def __len__(self) -> int:
        return len(self._widgets)

    def look(self) -> Change | None:
        """What changed in the folder since the last change that was found; to be called from one thread at a time.

        Files that are still being written (they changed since the last look) are left for the next look.
        """
        stamps, before = _stamps(self._folder), self._seen
        self._seen = stamps
        if stamps != before or stamps == self._read:
            return None
        changed = [name for name in sorted({*stamps, *self._read}) if stamps.get(name) != self._read.get(name)]
        self._read = stamps
        widgets = dict(self._widgets)
        taken_up, refused = [], []
        for name in changed:
            if name not in stamps:
                if widgets.pop(name, None) is not None:
                    taken_up.append(f"{name} is gone")
                continue
            try:
                new = library.load_one(self._folder / name, self._catalog)
            except WorkflowError as fault:
                kept = "the widget stays as it was" if name in widgets else "there is no such widget yet"
                refused.append(f"{name} changed and cannot be used, {kept}:\n{fault.detail}")
                continue
            taken_up.append(f"{name} is {'changed' if name in widgets else 'new'}")
            widgets[name] = new
        return Change(MappingProxyType(dict(sorted(widgets.items()))), tuple(taken_up), tuple(refused))

    def adopt(self, change: Change) -> None:
        """From now on the widgets are those of the change."""
        self._widgets = change.widgets


def _stamps(folder: Path) -> _Stamps:
    """A folder that cannot be read looks empty."""
    try:
        paths = library.widget_folders(folder)
    except (OSError, WorkflowError):
        return {}
    return {path.name: tuple(_stamp(path / name) for name in library.FILES) for path in paths}


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_size)
