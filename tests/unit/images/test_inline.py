"""Base64, data URLs and files that come inside a request."""

import base64
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import InvalidParameters
from orchestrator.images.inline import file_bytes, is_text, scheme_of
from tests.unit.images.pictures import b64, saved, scene

PNG = saved(scene(), "PNG")


def complaint(content: str | bytes, limit: int = 1_000_000) -> str:
    with pytest.raises(InvalidParameters) as caught:
        file_bytes(content, "mask", limit)
    assert [error.field for error in caught.value.fields] == ["mask"]
    return caught.value.fields[0].message


@pytest.mark.parametrize(
    "written",
    [
        b64(PNG),
        b64(PNG).rstrip("="),
        b64(PNG).rstrip("=") + "====",
        base64.urlsafe_b64encode(PNG).decode(),
        base64.encodebytes(PNG).decode(),
        f" \r\n\t{b64(PNG)}\n",
        f"data:image/png;base64,{b64(PNG)}",
        f"  DATA:image/PNG;charset=utf-8;BASE64,\n{b64(PNG)}",
        f"data:;base64,{b64(PNG)}",
        b64(PNG).encode(),
        f"data:image/png;base64,{b64(PNG)}".encode(),
        PNG,
    ],
    ids=lambda written: repr(written[:30]),
)
def test_every_way_of_sending_a_picture_gives_its_file(written: str | bytes) -> None:
    assert file_bytes(written, "image", 1_000_000) == PNG


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 2**20), st.sampled_from(["", "\n", " "]), st.booleans())
def test_base64_of_any_length_is_decoded_whole(data: bytes, zeros: int, gap: str, as_bytes: bool) -> None:
    data = data + b"\0" * zeros + b"end"
    text = b64(data)
    written = gap.join([text[:100], text[100:]])
    assert file_bytes(written.encode() if as_bytes else written, "image", 2_000_000) == data


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "nothing in it"),
        ("   ", "nothing in it"),
        ("data:image/png;base64,", "nothing in it"),
        ("====", "nothing in it"),
        (b"", "empty (0 bytes)"),
        ("iVBORw0KGgo!AAAA", "'!' is no base64"),
        ("ünïcode", "no base64"),
        ("\ud83d", "no base64"),
        ("😀", "no base64"),
        ("AA==AA==", "goes on after its padding"),
        ("AAAAA", "cut off"),
        ("data:image/png," + b64(PNG), "not base64"),
        ("data:image/png;base64" + b64(PNG), "no comma"),
        ("data:text/html,<b>", "not base64"),
    ],
)
def test_what_is_wrong_is_said(content: str | bytes, says: str) -> None:
    assert says in complaint(content)


@pytest.mark.parametrize("content", [b64(b"\0" * 1001), f"data:image/png;base64,{b64(bytes(1001))}", PNG + bytes(1001)])
def test_more_than_the_limit_is_refused(content: str | bytes) -> None:
    assert "larger than the 1000 bytes" in complaint(content, 1000)


def test_exactly_the_limit_is_taken() -> None:
    assert len(file_bytes(b64(bytes(1000)), "image", 1000)) == 1000


@pytest.mark.parametrize(
    ("content", "scheme"),
    [
        ("https://a/b", "https"),
        (" HTTP://a", "http"),
        (b"http://a/b", "http"),
        ("data:,", "data"),
        (b64(PNG), None),
        (PNG, None),
    ],
    ids=repr,
)
def test_a_url_is_told_from_base64_and_files(content: str | bytes, scheme: str | None) -> None:
    assert scheme_of(content) == scheme


@pytest.mark.parametrize(
    "content", [b" " * 2000, b"\t" * 1023 + b"!", b" " * 500 + b"=" * 500 + b"!"], ids=["blanks", "tabs", "padding"]
)
def test_what_is_not_quite_base64_is_told_in_no_time(content: bytes) -> None:
    started = time.process_time()
    is_text(content)
    assert time.process_time() - started < 0.1


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_no_picture_file_is_taken_for_text(kind: str) -> None:
    assert not is_text(saved(scene(), kind))
