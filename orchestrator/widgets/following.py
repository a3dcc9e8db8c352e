"""The widgets while the service runs: changed folders are taken up, a faulty one leaves the old widget in place.

Looks at files; when to look, and who is told, is the owner's business.
"""

import threading
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
    """What a look found: widgets that are new or changed, those that are gone, and a sentence for each folder."""

    widgets: Mapping[str, Widget]
    gone: frozenset[str]
    taken_up: tuple[str, ...]
    refused: tuple[str, ...]


class LivingWidgets(Mapping[str, Widget]):
    """The widgets of a folder by name, as they were when the last change was adopted."""

    def __init__(self, folder: Path, catalog: Catalog) -> None:
        """Reads the folder. Raises WorkflowError as `library.load` does."""
        self.folder = folder
        self.catalog = catalog
        self._looking = threading.Lock()
        self._read = self._seen = _stamps(folder)
        self._widgets = library.load(folder, catalog)

    def __getitem__(self, name: str) -> Widget:
        return self._widgets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._widgets)

    def __len__(self) -> int:
        return len(self._widgets)

    def look(self) -> Change | None:
        """What changed in the folder since the last change that was found; may be called from any thread.

        Files that are still being written (they changed since the last look) are left for the next look.
        """
        with self._looking:
            stamps, before = _stamps(self.folder), self._seen
            self._seen = stamps
            if stamps != before or stamps == self._read:
                return None
            changed = [name for name in sorted({*stamps, *self._read}) if stamps.get(name) != self._read.get(name)]
            self._read = stamps
            return self._change(changed, stamps)

    def read_again(self, name: str) -> Change:
        """The same for one folder, whose files are whole, without waiting for a look."""
        with self._looking:
            stamp = {name: _stamps(self.folder)[name]}
            self._seen, self._read = {**self._seen, **stamp}, {**self._read, **stamp}
            return self._change([name], stamp)

    def _change(self, changed: list[str], stamps: _Stamps) -> Change:
        widgets: dict[str, Widget] = {}
        gone, taken_up, refused = set(), [], []
        for name in changed:
            known = name in self._widgets
            if name not in stamps:
                if known:
                    gone.add(name)
                    taken_up.append(f"{name} is gone")
                continue
            try:
                widgets[name] = library.load_one(self.folder / name, self.catalog)
            except WorkflowError as fault:
                kept = "the widget stays as it was" if known else "there is no such widget yet"
                refused.append(f"{name} changed and cannot be used, {kept}:\n{fault.detail}")
                continue
            taken_up.append(f"{name} is {'changed' if known else 'new'}")
        return Change(MappingProxyType(widgets), frozenset(gone), tuple(taken_up), tuple(refused))

    def adopt(self, change: Change) -> None:
        """From now on the widgets are those of the change, and the others as they were. On the event loop's thread."""
        widgets = {name: widget for name, widget in self._widgets.items() if name not in change.gone}
        self._widgets = MappingProxyType(dict(sorted({**widgets, **change.widgets}.items())))


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
