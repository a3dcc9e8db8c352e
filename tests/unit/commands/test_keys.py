from pathlib import Path

import pytest

from orchestrator.callers.caller import Limits, Right
from orchestrator.callers.keys import ApiKeys
from orchestrator.cli import main


def keys(*arguments: str, data: Path) -> int:
    return main(["keys", *arguments, "--data", str(data)])


def test_a_key_is_shown_once_alone_on_the_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = ["add", "studio", "--may", "publish", "--may", "operate", "--rate", "60", "--jobs", "4", "--steps", "50"]
    assert keys(*made, "--megapixels", "2.5", "--priority", "high", data=tmp_path) == 0
    key = capsys.readouterr().out
    caller = ApiKeys(tmp_path / "keys.json").caller(key.strip())
    assert caller is not None
    assert caller.rights == frozenset(Right)
    assert caller.limits == Limits(60, 4, 2.5, 50, "high")
    assert keys("list", data=tmp_path) == 0
    listed = capsys.readouterr().out
    assert "studio" in listed
    assert "60 a minute, 4 jobs at once, 2.5 megapixels, 50 steps, up to high priority" in listed
    assert key.strip() not in listed


def test_a_key_may_run_widgets_and_no_more_unless_told_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for given, rights in ((("a",), {"run"}), (("b", "--no-run", "--may", "operate"), {"operate"})):
        assert keys("add", *given, data=tmp_path) == 0
        caller = ApiKeys(tmp_path / "keys.json").caller(capsys.readouterr().out.strip())
        assert caller is not None
        assert caller.rights == rights


def test_a_key_is_replaced_and_revoked_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys("add", "alice", data=tmp_path)
    first = capsys.readouterr().out.strip()
    assert keys("replace", "alice", data=tmp_path) == 0
    second = capsys.readouterr().out.strip()
    known = ApiKeys(tmp_path / "keys.json")
    assert known.caller(first) is None
    assert known.caller(second) is not None
    assert keys("revoke", "alice", data=tmp_path) == 0
    assert known.caller(second) is None
    assert keys("revoke", "alice", data=tmp_path) == 2
    assert "no key 'alice'" in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["rate", "jobs", "megapixels", "steps"])
def test_a_limit_of_nothing_is_refused(limit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keys("add", "alice", f"--{limit}", "0", data=tmp_path) == 2
    assert f"--{limit} must be a number above 0" in capsys.readouterr().err


def test_limits_are_changed_one_by_one_and_taken_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys("add", "alice", "--rate", "5", "--jobs", "2", data=tmp_path)
    key = capsys.readouterr().out.strip()
    known = ApiKeys(tmp_path / "keys.json")
    before = known.caller(key)
    assert keys("limit", "alice", "--rate", "none", "--steps", "30", "--priority", "high", data=tmp_path) == 0
    assert "2 jobs at once, 30 steps, up to high priority" in capsys.readouterr().out
    after = known.caller(key)
    assert before is not None
    assert after is not None
    assert after.limits == Limits(rate=None, jobs=2, steps=30, priority="high")
    assert (after.id, after.rights) == (before.id, before.rights)
    assert keys("limit", "bob", "--rate", "3", data=tmp_path) == 2
    for wrong in ("many", "-1", "nan", "inf", "0"):
        assert keys("limit", "alice", "--megapixels", wrong, data=tmp_path) == 2
