import json
import multiprocessing
from pathlib import Path

import pytest

from orchestrator.callers.caller import ANYBODY, STRANGER, Caller, Limits, Right
from orchestrator.callers.keys import ApiKeys
from orchestrator.errors import NotPermitted, SettingsError, StorageError

RUN = frozenset({Right.RUN})


def test_a_key_is_known_with_its_rights_and_limits_and_is_not_in_the_file(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path / "data" / "keys.json")
    key = keys.add("alice", RUN, Limits(rate=5, megapixels=1.5))
    caller = keys.caller(key)
    assert caller is not None
    assert (caller.name, caller.rights, caller.limits) == ("alice", RUN, Limits(rate=5, megapixels=1.5))
    assert caller.id
    written = (tmp_path / "data" / "keys.json").read_text()
    assert key not in written
    assert key.removeprefix("orc_") not in written
    assert (tmp_path / "data" / "keys.json").stat().st_mode & 0o777 == 0o600


def test_what_is_no_key_is_nobodys(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path / "keys.json")
    assert keys.caller("orc_x") is None
    key = keys.add("alice", RUN, Limits())
    kept = json.loads((tmp_path / "keys.json").read_text())[0]["sha256"]
    for guess in ("", "alice", kept, key[:-1], key + "x", key.lower(), "\udcff"):
        assert keys.caller(guess) is None


def test_a_change_by_another_process_is_seen_at_once(tmp_path: Path) -> None:
    serving, commands = ApiKeys(tmp_path / "keys.json"), ApiKeys(tmp_path / "keys.json")
    assert serving.caller("orc_x") is None
    first = commands.add("alice", RUN, Limits())
    before = serving.caller(first)
    assert before is not None
    second = commands.replace("alice")
    assert serving.caller(first) is None
    assert serving.caller(second) == before
    commands.revoke("alice")
    assert serving.caller(second) is None


def test_a_name_is_taken_once_and_has_to_be_there_to_be_revoked(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path / "keys.json")
    keys.add("alice", RUN, Limits())
    with pytest.raises(SettingsError, match="already"):
        keys.add("alice", RUN, Limits())
    with pytest.raises(SettingsError, match="no name"):
        keys.add("a b", RUN, Limits())
    for change in (keys.revoke, keys.replace):
        with pytest.raises(SettingsError, match="no key 'bob'"):
            change("bob")
    assert [key.name for key in keys.listed()] == ["alice"]


def test_a_file_that_cannot_be_read_lets_nobody_in(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path / "keys.json")
    key = keys.add("alice", RUN, Limits())
    assert keys.caller(key) is not None
    (tmp_path / "keys.json").write_text("[{}]")
    for _ in range(2):
        with pytest.raises(StorageError, match=r"keys\.json cannot be read"):
            keys.caller(key)
    (tmp_path / "keys.json").unlink()
    assert keys.caller(key) is None


def add(path: Path, name: str) -> None:
    ApiKeys(path).add(name, RUN, Limits())


def test_keys_that_processes_add_at_once_are_all_kept(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.starmap(add, [(tmp_path / "keys.json", f"key{n}") for n in range(20)])
    assert len(ApiKeys(tmp_path / "keys.json").listed()) == 20
    assert {file.name for file in tmp_path.iterdir()} == {"keys.json", ".keys.json.lock"}


def test_a_right_that_lacks_is_named(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path / "keys.json")
    caller = keys.caller(keys.add("alice", RUN, Limits()))
    assert caller is not None
    caller.require(Right.RUN)
    with pytest.raises(NotPermitted, match='right "publish"; the API key "alice" may run'):
        caller.require(Right.PUBLISH)
    ANYBODY.require(Right.OPERATE)


def test_a_job_is_its_owners_and_the_operators_affair() -> None:
    alice, root = Caller("a", "alice", RUN), Caller("r", "root", frozenset({Right.OPERATE}))
    assert [caller.sees("a") for caller in (alice, root, ANYBODY, STRANGER)] == [True, True, True, False]
    # Jobs from the time before there were keys have no owner.
    assert [caller.sees("") for caller in (alice, root, ANYBODY, STRANGER)] == [False, True, True, False]
