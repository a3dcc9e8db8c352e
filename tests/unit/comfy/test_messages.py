import json
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.comfy import messages
from orchestrator.comfy.messages import PreviewFrame, Unknown, parse_frame, parse_message


def parse(kind, **data):
    return parse_message(json.dumps({"type": kind, "data": data}))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (parse("status", status={"exec_info": {"queue_remaining": 3}}, sid="x"), messages.Status(3)),
        (parse("execution_start", prompt_id="p", timestamp=1), messages.ExecutionStart("p")),
        (parse("execution_cached", prompt_id="p", nodes=["1", "2"]), messages.ExecutionCached("p", ("1", "2"))),
        (parse("executing", prompt_id="p", node="1"), messages.Executing("p", "1")),
        (parse("executing", prompt_id="p", node=None), messages.Executing("p", None)),
        (parse("executing", node="1"), messages.Executing(None, "1")),
        (parse("progress", prompt_id="p", node="1", value=2, max=9), messages.Progress("p", "1", 2, 9)),
        (parse("executed", prompt_id="p", node="1", output=None), messages.Executed("p", "1")),
        (parse("execution_success", prompt_id="p"), messages.ExecutionSuccess("p")),
        (
            parse("execution_interrupted", prompt_id="p", node_id="1", node_type="A"),
            messages.ExecutionInterrupted("p", "1", "A"),
        ),
        (
            parse(
                "execution_error", prompt_id="p", node_id="1", node_type="A", exception_type="E", exception_message="m"
            ),
            messages.ExecutionError("p", "1", "A", "E", "m"),
        ),
        (
            parse("progress_state", prompt_id="p", nodes={"1": {"value": 1, "max": 2, "state": "running"}}),
            messages.ProgressState("p", (messages.NodeProgress("1", 1, 2, "running"),)),
        ),
    ],
)
def test_each_known_message_is_a_value_of_its_own_type(message, expected):
    assert message == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "3",
        '{"type": 3}',
        '{"type": "status"}',
        '{"type": "status", "data": {"status": {}}}',
        "[" * 100000,
    ],
)
def test_what_cannot_be_read_is_unknown(text):
    assert isinstance(parse_message(text), Unknown)


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1" + "0" * 400])
def test_a_number_without_an_end_is_unknown(number):
    status = f'{{"type": "status", "data": {{"status": {{"exec_info": {{"queue_remaining": {number}}}}}}}}}'
    progress = f'{{"type": "progress", "data": {{"prompt_id": "a", "node": "1", "value": {number}, "max": 2}}}}'
    assert isinstance(parse_message(status), Unknown)
    assert isinstance(parse_message(progress), Unknown)


def test_an_unknown_message_keeps_its_type():
    assert parse("crystools.monitor", cpu=1) == Unknown("crystools.monitor")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["status", "exec_info", "nodes", "node", "prompt_id"]), inner)
    ),
    max_leaves=6,
)
KINDS = ["status", "executing", "progress", "progress_state", "executed", "execution_cached", "execution_error"]


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(KINDS), JSON)
def test_reading_never_raises_whatever_the_data(kind, data):
    parse_message(json.dumps({"type": kind, "data": data}))


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=40))
def test_reading_a_frame_never_raises(data):
    parse_frame(data)


def test_a_binary_frame_is_a_picture_with_its_format():
    assert parse_frame(bytes([0, 0, 0, 1, 0, 0, 0, 2]) + b"\x89PNG") == PreviewFrame("png", b"\x89PNG")
    assert parse_frame(bytes([0, 0, 0, 1, 0, 0, 0, 1]) + b"\xff\xd8") == PreviewFrame("jpeg", b"\xff\xd8")


def described(said: object, picture: bytes = b"\xff\xd8", kind: int = 4) -> bytes:
    text = json.dumps(said).encode()
    return struct.pack(">II", kind, len(text)) + text + picture


def test_a_preview_with_metadata_says_whose_it_is():
    frame = described({"prompt_id": "p", "node_id": "14", "image_type": "image/jpeg", "more": 1})
    assert parse_frame(frame) == PreviewFrame("jpeg", b"\xff\xd8", "p", "14")
    png = described({"prompt_id": "p", "image_type": "image/png"})
    assert parse_frame(png) == PreviewFrame("png", b"\xff\xd8", "p")


@pytest.mark.parametrize(
    "data",
    [
        described([]),
        described({}),
        described({"prompt_id": 7}),
        described({"prompt_id": "p", "image_type": "image/gif"}),
        described({"prompt_id": "p" * 70_000}),
        struct.pack(">II", 4, 100) + b"{}",
        struct.pack(">II", 4, 2) + b"{",
        struct.pack(">II", 4, 2**32 - 1) + b"{}",
    ],
)
def test_a_preview_whose_metadata_cannot_be_read_is_unknown(data):
    assert parse_frame(data) == Unknown("binary")


@pytest.mark.parametrize("data", [b"", b"\0\0\0\1", bytes([0, 0, 0, 9, 0, 0, 0, 1]), bytes([0, 0, 0, 1, 0, 0, 0, 7])])
def test_other_binary_frames_are_unknown(data):
    assert parse_frame(data) == Unknown("binary")
