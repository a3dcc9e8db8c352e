import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.models.header import NotSafetensors, header_length, parse_header


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
