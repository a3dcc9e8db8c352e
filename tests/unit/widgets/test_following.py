"""Workflow folders that change while the service runs."""

import shutil
from pathlib import Path

import yaml

from orchestrator.widgets.following import Change, LivingWidgets
from tests.unit.widgets.drawing import CATALOG, definition
from tests.unit.widgets.test_library import write


def looked(widgets: LivingWidgets) -> Change | None:
    """What is found once the files have come to rest: at the second look."""
    assert widgets.look() is None
    change = widgets.look()
    if change is not None:
        widgets.adopt(change)
    return change


def retitle(folder: Path, title: object) -> None:
    (folder / "widget.yaml").write_text(yaml.safe_dump(definition() | {"title": title}, sort_keys=False))


def test_nothing_changed_is_no_change(tmp_path: Path) -> None:
    write(tmp_path, "one")
    assert looked(LivingWidgets(tmp_path, CATALOG)) is None


def test_a_changed_and_a_new_folder_are_taken_up(tmp_path: Path) -> None:
    one = write(tmp_path, "one")
    widgets = LivingWidgets(tmp_path, CATALOG)
    retitle(one, "Other words")
    write(tmp_path, "a_second")
    change = looked(widgets)
    assert change is not None
    assert (change.taken_up, change.refused) == (("a_second is new", "one is changed"), ())
    assert {name: widget.title for name, widget in widgets.items()} == {"a_second": "Test", "one": "Other words"}


def test_a_faulty_folder_is_refused_once_and_the_old_widget_kept(tmp_path: Path) -> None:
    one = write(tmp_path, "one")
    widgets = LivingWidgets(tmp_path, CATALOG)
    old = widgets["one"]
    (one / "workflow.json").write_text("{")
    write(tmp_path, "two", said={"title": "No more"})
    change = looked(widgets)
    assert change is not None
    assert change.taken_up == ()
    assert change.refused[0].startswith(
        "one changed and cannot be used, the widget stays as it was:\nworkflow.json cannot be read"
    )
    assert change.refused[1].startswith("two changed and cannot be used, there is no such widget yet:\nwidget.yaml: ")
    assert dict(widgets) == {"one": old}
    assert looked(widgets) is None
    retitle(one, "Mended?")
    assert widgets.look() is None
    shutil.rmtree(one)
    change = looked(widgets)
    assert change is not None
    assert change.taken_up == ("one is gone",)
    assert len(widgets) == 0


def test_files_that_are_still_being_written_are_left_for_the_next_look(tmp_path: Path) -> None:
    one = write(tmp_path, "one")
    widgets = LivingWidgets(tmp_path, CATALOG)
    for title in ("a", "ab", "abc"):
        retitle(one, title)
        assert widgets.look() is None
    change = widgets.look()
    assert change is not None
    assert change.widgets["one"].title == "abc"


def test_a_folder_that_cannot_be_read_is_empty(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    write(tmp_path / "w", "one")
    widgets = LivingWidgets(tmp_path / "w", CATALOG)
    shutil.rmtree(tmp_path / "w")
    change = looked(widgets)
    assert change is not None
    assert change.taken_up == ("one is gone",)
