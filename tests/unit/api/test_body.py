"""The JSON parser for bodies with pictures in them says what json.loads says, and holds nobody up."""

import json
import threading

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.api.body import LONG, BadBody, Json, parse, parse_json
from tests.unit.loop_gap import LIMIT, least_worst_gap

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
TRICKY = st.lists(st.sampled_from(['"', "\\", "/", "\n", "é", "€", "😀", "u", "d83d", "a", " ", ":"]), max_size=40).map(
    "".join
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT | TRICKY,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter(lambda name: len(name) < 3), inner, max_size=4)
    ),
    max_leaves=12,
)


DAMAGE = tuple(b'"\\{}[]:,u0 \n\x00\xff')


def same_as_json_loads(written: bytes) -> None:
    """Asserts that both parse it to the same or both refuse it."""
    try:
        expected = json.loads(written.decode(), object_pairs_hook=each_once)
        json.dumps(expected, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        with pytest.raises(ValueError):
            parse(written, long=26, piece=24)
    else:
        try:
            assert texts(parse(written, long=26, piece=24)) == expected
        except ValueError as error:
            assert "name is too long" in str(error)  # noqa: PT017


def each_once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name is given twice")
    return dict(pairs)


def texts(value: Json) -> Json:
    """The value with every long string as str again."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [texts(item) for item in value]
    if isinstance(value, dict):
        return {name: texts(item) for name, item in value.items()}
    return value


@settings(max_examples=300, deadline=None)
@given(VALUES, st.booleans(), st.integers(24, 40), st.booleans())
@example(["😀" * 30], True, 25, False)
def test_any_json_is_what_json_loads_makes_of_it(value: Json, ascii_only: bool, piece: int, php: bool) -> None:
    written = json.dumps(value, ensure_ascii=ascii_only)
    if php:
        written = written.replace("/", "\\/")
    # a name may be up to 2 characters, each up to two escapes of 6 bytes
    assert texts(parse(written.encode(), long=26, piece=piece)) == json.loads(written)


@settings(max_examples=300, deadline=None)
@given(VALUES, st.data())
def test_a_damaged_body_is_refused_where_json_loads_refuses_it(value: Json, data: st.DataObject) -> None:
    written = bytearray(json.dumps(value, ensure_ascii=data.draw(st.booleans())).encode())
    written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.sampled_from(DAMAGE))
    same_as_json_loads(bytes(written))


def test_damage_at_any_place_of_surrogate_pairs_is_refused_where_json_loads_refuses_it() -> None:
    whole = json.dumps(["\x1f\x1f\U00010000\U000100000\x1f\x1f"]).encode()
    for place in range(len(whole)):
        for byte in DAMAGE:
            same_as_json_loads(whole[:place] + bytes([byte]) + whole[place + 1 :])


def test_long_strings_are_bytes_and_short_ones_are_not() -> None:
    value = parse(json.dumps({"image": "A" * LONG, "prompt": "p" * 20_000}).encode())
    assert isinstance(value, dict)
    assert value["image"] == b"A" * LONG
    assert value["prompt"] == "p" * 20_000


def test_a_prompt_of_20000_escaped_characters_stays_text() -> None:
    assert parse(json.dumps({"image": "A" * LONG, "prompt": "😀" * 20_000}).encode())["prompt"] == "😀" * 20_000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"cfg_scale": 1e999}',
        b"{",
        b"\xff\xfe{\x00}\x00",
        b'{"a": NaN}',
        b'{"a": "\\ud83d"}',
        b"[" * 100_000,
        b'{"a": ' + b"1" * 5000 + b"}",
        b'{"' + b"n" * LONG + b'": 1}',
        b'["' + b"A" * LONG + b"\n" + b'"]',
        b'["' + b"A" * LONG + b'\\ud83d"]',
        b'["' + b"A" * LONG + b'\\x"]',
        b'["' + b"A" * LONG,
        b'["' + b"A" * LONG + b"\\",
        b"[" + b"1," * 1_500_000 + b"1]",
        b'["' + b"A" * LONG + b'"' + b',""' * 1_000_000 + b"]",
    ],
    ids=lambda body: f"{bytes(body[:12])!r} {len(body)}",
)
def test_what_is_not_json_or_too_much_of_it_is_a_value_error(body: bytes) -> None:
    with pytest.raises(BadBody):
        parse(body)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b" ", "it is empty"),
        (b"prompt=x&model=demo", "Expecting value at line 1, column 1"),
        (b'{"a": 1,\n "b}', "Unterminated string starting at line 2, column 2"),
        (b'{"a": "\\x"}', "Invalid \\escape at line 1, column 8"),
        (b'{"a": "' + b"A" * LONG + b'", 1}', "Expecting property name enclosed in double quotes"),
        (b'{"seed": ' + b"1" * 5000 + b"}", "a number in it has too many digits"),
        ('{"prompt": "é"}'.encode("latin-1"), "it is not in UTF-8"),
        ('{"prompt": "é", "image": "'.encode("latin-1") + b"A" * LONG + b'"}', "it is not in UTF-8"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_what_is_wrong_is_said_in_words_that_are_not_pythons(body: bytes, says: str) -> None:
    with pytest.raises(BadBody) as refused:
        parse(body)
    assert str(refused.value) == says


def test_a_byte_order_mark_is_skipped() -> None:
    assert parse(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize("escape", [b"", b"\\/", b"\\n"], ids=["plain", "as PHP writes it", "with line ends"])
async def test_a_50_megabyte_body_does_not_hold_up_the_event_loop(escape: bytes) -> None:
    picture = (b"QUJD" * 18 + b"QUJ" + escape) * 666_000
    body = bytearray(b'{"prompt": "a heart", "image": "' + picture + b'", "steps": 25}')
    gap = await least_worst_gap(lambda: parse_json(body))
    print(f"{len(body) / 1e6:.0f} MB of JSON, worst gap {gap * 1000:.1f} ms")
    assert gap <= LIMIT


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * 300_000 + b"{}]",
        b'["' + b"\\\\" * 400_000 + b'"]',
        b"[" + b'"",' * 300_000 + b'""]',
        b'["' + b"A" * 2_000_000 + b'"]',
    ],
    ids=["many values", "many escapes", "many strings", "large"],
)
async def test_what_takes_long_is_parsed_in_a_thread(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    here = threading.get_ident()
    threads: list[int] = []
    monkeypatch.setattr("orchestrator.api.body.parse", lambda _: threads.append(threading.get_ident()))
    await parse_json(body)
    assert threads != [here]
    await parse_json(b'{"image": "' + b"QUJD" * 150_000 + b'", "steps": 25}')
    assert threads[1:] == [here]
