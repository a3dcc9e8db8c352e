import json
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.models.header import (
    FETCHED_LIMIT,
    NotSafetensors,
    data_length,
    header_length,
    parse_header,
    parse_whole,
)


def test_names_shapes_and_metadata_are_read() -> None:
    text = json.dumps({"__metadata__": {"a": "b"}, "x": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}})
    head = parse_header(text.encode())
    assert dict(head.shapes) == {"x": (2, 3)}
    assert head.metadata == {"a": "b"}


@pytest.mark.parametrize("start", [b"", b"\0" * 7, b"\0" * 8, struct.pack("<Q", 2**40), b"PK\x03\x04" + b"\xff" * 8])
def test_a_length_that_cannot_be_is_refused(start: bytes) -> None:
    with pytest.raises(NotSafetensors):
        header_length(start)


def test_a_length_is_little_endian() -> None:
    assert header_length(struct.pack("<Q", 300)) == 300


@given(st.binary(max_size=200) | st.text(max_size=50).map(lambda text: json.dumps({text: {"shape": text}}).encode()))
def test_hostile_bytes_are_refused_and_nothing_worse(text: bytes) -> None:
    try:
        head = parse_header(text)
    except NotSafetensors:
        return
    assert all(isinstance(side, int) for shape in head.shapes.values() for side in shape)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_json_of_any_shape_is_a_header_or_refused(content: object) -> None:
    try:
        parse_header(json.dumps(content).encode())
    except NotSafetensors:
        return
    assert isinstance(content, dict)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(NotSafetensors):
        parse_header(b"[" * 100_000)


def entry(start: int, end: int, shape: list[int] | None = None, dtype: str = "U8") -> dict[str, object]:
    return {"dtype": dtype, "shape": [end - start] if shape is None else shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("content", "length"),
    [
        ({}, 0),
        ({"a": entry(0, 4)}, 4),
        ({"b": entry(4, 6), "a": entry(0, 4)}, 6),
        ({"a": entry(0, 4), "z": entry(4, 4, [0, 7], "F32"), "b": entry(4, 6)}, 6),
        ({"a": entry(0, 4, [], "F32"), "__metadata__": {"x": "y"}}, 4),
        ({"a": entry(0, 3, [4], "F6_E2M3")}, 3),
    ],
)
def test_the_length_of_the_tensors_follows_from_the_header(content: dict[str, object], length: int) -> None:
    assert data_length(json.dumps(content).encode()) == length


@pytest.mark.parametrize(
    "content",
    [
        {"a": entry(1, 5)},
        {"a": entry(0, 4), "b": entry(5, 6)},
        {"a": entry(0, 4), "b": entry(3, 6)},
        {"a": entry(0, 4, [3])},
        {"a": entry(0, 4, [2], "F32")},
        {"a": entry(0, 4, [4], "PICKLE")},
        {"a": entry(0, 4, [4], dtype=7)},  # type: ignore[arg-type]
        {"a": {"dtype": "U8", "shape": [4]}},
        {"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4.0]}},
        {"a": {"dtype": "U8", "shape": [4], "data_offsets": [-4, 0]}},
        {"a": {"dtype": "U8", "shape": [2**62, 2**62], "data_offsets": [0, 2**124]}},
        {"a": {"dtype": "U8", "shape": [10**400], "data_offsets": [0, 10**400]}},
        {"a": entry(0, 1, [1], "F4")},
        {"a": 3},
    ],
)
def test_a_header_of_a_file_that_cannot_be_is_refused(content: dict[str, object]) -> None:
    with pytest.raises(NotSafetensors):
        data_length(json.dumps(content).encode())


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"PK\x03\x04" + b"\xff" * 8, "zip"),
        (b"\x80\x02}q\x00(X\x0a", "pickle"),
        (b"<!doctype html>", "web page"),
        (b'{"error":"Unauthorized"}', "JSON"),
        (b"GGUF\x03\0\0\0\xff", "GGUF"),
    ],
)
def test_what_is_often_saved_in_its_place_is_named(start: bytes, what: str) -> None:
    with pytest.raises(NotSafetensors, match=what):
        header_length(start)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
tensor = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["U8", "F16", "F32", "F4", "X"]) | json_like,
        "shape": st.lists(st.integers(-1, 5), max_size=3) | json_like,
        "data_offsets": st.lists(st.integers(-1, 40), max_size=3) | json_like,
    },
)


@given(st.dictionaries(st.text(max_size=9), tensor | json_like, max_size=4) | json_like)
def test_hostile_headers_are_refused_or_describe_a_file_that_can_be(content: object) -> None:
    try:
        length = data_length(json.dumps(content).encode())
    except NotSafetensors:
        return
    assert isinstance(content, dict)
    ends = [tensor["data_offsets"][1] for name, tensor in content.items() if name != "__metadata__"]
    assert length == max(ends, default=0)


@given(st.binary(max_size=64))
def test_hostile_first_bytes_are_refused_or_a_length_that_may_be(start: bytes) -> None:
    try:
        length = header_length(start)
    except NotSafetensors:
        return
    assert 2 <= length <= 100_000_000


@pytest.mark.parametrize("content", [{"a": entry(0, 1, [1] * 9)}, {"a" * 501: entry(0, 1)}])
def test_more_dimensions_and_longer_names_than_any_model_has_are_refused(content: dict[str, object]) -> None:
    with pytest.raises(NotSafetensors, match=r"dimensions|characters"):
        parse_header(json.dumps(content).encode())


def test_many_dimensions_are_refused_before_they_are_multiplied() -> None:
    dimensions = 400_000
    text = json.dumps({"a": entry(0, 1, [2**62] * dimensions)}).encode()
    started = time.process_time()
    json.loads(text)
    parsed = time.process_time() - started
    with pytest.raises(NotSafetensors, match="dimensions"):
        data_length(text)
    assert time.process_time() - started < 10 * parsed + 0.5  # the product alone takes minutes


def test_a_limit_of_the_caller_holds() -> None:
    with pytest.raises(NotSafetensors, match="bytes long"):
        header_length(struct.pack("<Q", FETCHED_LIMIT + 1), FETCHED_LIMIT)


def test_the_whole_is_read_in_one_go() -> None:
    text = json.dumps({"a": entry(0, 4), "__metadata__": {"x": "y"}}).encode()
    assert parse_whole(text) == (parse_header(text), data_length(text))
