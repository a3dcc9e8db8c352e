from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.models.civitai import Unreadable, read_model_versions, read_version
from tests.fakes.civitai import Fixture

FACTS = Fixture(64094, b"x" * 2048).version


def test_a_versions_facts_are_read() -> None:
    version = read_version(FACTS)
    assert (version.id, version.kind, version.base_model, version.title) == (
        64094,
        "checkpoint",
        "SD 1.5",
        "Model 64094 v1.0",
    )
    (file,) = version.files
    assert (file.format, file.size, file.precision, file.primary) == ("safetensor", "pruned", "fp16", True)
    assert file.approximate_bytes == 2048
    assert len(file.sha256) == 64
    assert file.sha256 == file.sha256.lower()
    assert version.downloadable


@pytest.mark.parametrize(
    ("change", "attribute", "value"),
    [
        ({"files": None}, "files", ()),
        ({"files": [None, 3, {"name": "without id"}]}, "files", ()),
        ({"model": {"mode": "Archived", "type": "Checkpoint"}}, "removed", "archived"),
        ({"usageControl": "Generation"}, "downloadable", False),
        ({"usageControl": None}, "downloadable", True),
        ({"baseModel": 7}, "base_model", ""),
        ({"model": None, "name": None}, "title", "version 64094"),
        ({"model": {"type": "LoCon"}}, "kind", "lora"),
        ({"model": {"type": "TextualInversion"}}, "kind", None),
        ({"trainedWords": ["a", None, 3]}, "trained_words", ("a",)),
        ({"id": "64094"}, "id", 64094),
    ],
)
def test_what_is_missing_or_odd_counts_as_not_said(change: dict[str, Any], attribute: str, value: object) -> None:
    assert getattr(read_version(FACTS | change), attribute) == value


@pytest.mark.parametrize(
    ("file", "attribute", "value"),
    [
        ({"name": "a.ckpt", "metadata": None}, "format", "pickletensor"),
        ({"name": "a.SAFETENSORS", "metadata": {}}, "format", "safetensor"),
        ({"primary": None}, "primary", False),
        ({"sizeKB": "much"}, "approximate_bytes", None),
        ({"sizeKB": float("nan")}, "approximate_bytes", None),
        ({"sizeKB": True}, "approximate_bytes", None),
        ({"hashes": {"SHA256": "short"}}, "sha256", ""),
        ({"hashes": {"SHA256": "z" * 64}}, "sha256", ""),
        ({"hashes": {"AutoV3": "0123456789AB"}}, "tensor_sha256", "0123456789ab"),
    ],
)
def test_a_files_facts_are_read_leniently(file: dict[str, Any], attribute: str, value: object) -> None:
    read = read_version(FACTS | {"files": [{"id": 1} | file]})
    assert getattr(read.files[0], attribute) == value


def test_the_versions_of_a_model_are_listed() -> None:
    model = read_model_versions({"name": "M", "modelVersions": [{"id": 2, "name": "b"}, {"name": "?"}, {"id": 1}]})
    assert (model.name, model.versions) == ("M", ((2, "b"), (1, "")))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FACTS, *FACTS["files"][0]]), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(list(FACTS)), anything))
def test_any_answer_is_facts_or_unreadable(change: dict[str, Any]) -> None:
    for content in (FACTS | change, change):
        try:
            version = read_version(content)
        except Unreadable:
            continue
        assert version.id > 0


@given(anything)
def test_any_answer_is_a_list_of_versions_or_unreadable(content: object) -> None:
    try:
        read_model_versions(content)
    except Unreadable:
        return
    assert isinstance(content, dict)


def test_what_no_id_can_be_and_no_terminal_should_get_is_left_out() -> None:
    files = [{"id": 10**300}, {"id": 2**53}]
    version = read_version({"id": 1, "name": "a\x1b[2J\ud800b\nc", "files": files})
    assert [file.id for file in version.files] == [2**53]
    assert version.title == "a [2J b c"
