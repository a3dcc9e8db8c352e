"""JSON bodies with pictures in them, parsed without holding up the event loop. Must not know what the values mean.

json.loads holds the GIL for the whole of a body: 115 ms for 48 MB (pydantic_core.from_json 50 ms, and so does a mere
decode to str), during which no other request moves, thread or not. So long strings are cut out of the bytes first,
piece by piece, and json.loads sees only the small rest.
"""

import asyncio
import io
import json
import math
import re
import secrets
from collections.abc import AsyncIterator

import numpy as np

LONG = 1 << 18
"""A string of this many bytes or more, as written, is handed over as bytes. A prompt of 20,000 characters stays a str
even if each is written as two escapes of six bytes."""

_REST = 1 << 21
"""Bytes that a body may have besides its long strings: json.loads holds the GIL for them, up to 40 ms."""
_IN_PLACE = 1 << 16
_IN_PLACE_IF_PLAIN, _STRINGS = 1 << 20, 100
"""A body of up to so many bytes with so few strings, no escapes, and at most `_IN_PLACE` bytes besides its strings is a
picture or two and their parameters: parsed in a tenth of a millisecond, which is less than the way to a thread."""
_WINDOW = 1 << 16
_PIECE = 1 << 18
_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
"""What is inside a string, from a place that is not within an escape."""
_WHOLE = re.compile(
    rb"(?:[^\\]++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u(?![dD][89abAB])[0-9a-fA-F]{4}|\\[^u])*+"
)
"""Whole characters and escapes, up to a high surrogate whose second half is not in sight. Without a capturing group,
for which re raises SystemError inside a possessive repeat (CPython 3.11)."""


Body = bytes | bytearray
Json = None | bool | int | float | str | bytes | list["Json"] | dict[str, "Json"]
"""A parsed body. JSON has no bytes: a value of that type is the UTF-8 of a string of at least LONG bytes."""


class BadBody(ValueError):
    """A body is not JSON that is taken; the text says why, in words for whoever sent it."""


async def collect(pieces: AsyncIterator[bytes]) -> bytearray:
    """A body as it arrives, in one.

    Unlike `request.read()` it makes no copy of the whole at the end, which would take 40 ms of the event loop for 48
    MB.
    """
    body = bytearray()
    async for piece in pieces:
        body += piece
    return body


async def parse_json(body: Body) -> Json:
    """The JSON value in `body`, which must be UTF-8; one that takes long is parsed in a thread. Raises BadBody as
    `parse`."""
    return parse(body) if _is_quick(body) else await asyncio.to_thread(parse, body)


def _is_quick(body: Body) -> bool:
    if len(body) <= _IN_PLACE:
        return True
    if len(body) > _IN_PLACE_IF_PLAIN or b"\\" in body:
        return False
    besides = at = 0
    for _ in range(_STRINGS):
        opening = body.find(b'"', at)
        if opening < 0:
            return besides + len(body) - at <= _IN_PLACE
        closing = body.find(b'"', opening + 1)
        if closing < 0:
            return False
        besides += opening - at
        at = closing + 1
    return False


def parse(body: Body, *, long: int = LONG, piece: int = _PIECE) -> Json:
    """Equal to json.loads but for strings of `long` bytes and more, which are bytes; `piece` is worked on at a time.

    Raises BadBody for what is not UTF-8, not JSON (NaN and lone surrogates are not), nested too deeply, has a long
    name, or has more than two megabytes besides its long strings.
    """
    if body.startswith(b"\xef\xbb\xbf"):
        body = body[3:]
    try:
        if len(body) < long:
            return _loads(bytes(body).decode())
        mark = secrets.token_hex(16)  # so that no string of the body can be taken for a placeholder
        rest, cut_out = _without_long_strings(body, mark, long, piece)
        return _put_back(_loads(rest.decode()), mark, cut_out)
    except BadBody:
        raise
    except RecursionError as error:
        raise BadBody("it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise BadBody("it is not in UTF-8") from error
    except json.JSONDecodeError as error:
        raise BadBody(_in_words(error, whole=len(body) < long)) from error
    except ValueError as error:  # int's, of more digits than Python reads
        raise BadBody("a number in it has too many digits") from error


def _in_words(error: json.JSONDecodeError, *, whole: bool) -> str:
    """What json.loads complains of; and where, if it saw the body `whole`, with its long strings in it."""
    if not error.doc.strip():
        return "it is empty"
    what = error.msg.removesuffix(" at").rstrip(": ")
    return f"{what} at line {error.lineno}, column {error.colno}" if whole else what


def _loads(text: str) -> Json:
    value: Json = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    if "\\ud" in text or "\\uD" in text:
        _encoded(json.dumps(value, ensure_ascii=False))
    return value


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BadBody("it has half of a surrogate pair") from error


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise BadBody("a number in it is too large")
    return value


def _no_constant(name: str) -> Json:
    raise BadBody(f"{name} is not JSON")


def _without_long_strings(body: Body, mark: str, long: int, piece: int) -> tuple[bytearray, list[bytes]]:
    """The body with each long string replaced by `mark` and its number, and the long strings."""
    rest = bytearray()
    cut_out: list[bytes] = []
    at = 0
    while (opening := body.find(b'"', at)) >= 0:
        closing = _closing(body, opening + 1)
        is_long = closing - opening - 1 >= long
        end = opening if is_long else closing + 1
        _check_rest(len(rest) + end - at)
        rest += body[at:end]
        if is_long:
            rest += f'"{mark}{len(cut_out)}"'.encode()
            cut_out.append(_unescaped(body, opening + 1, closing, piece))
        at = closing + 1
    _check_rest(len(rest) + len(body) - at)
    return rest + body[at:], cut_out


def _check_rest(size: int) -> None:
    if size > _REST:
        raise BadBody(f"it has more than {_REST} bytes besides its long strings")


def _closing(body: Body, start: int) -> int:
    """Where the quote is that closes the string whose content begins at `start`.

    Alternates between two ways, so that neither base64 without escapes nor a string full of them is slow: a search for
    the next quote, and a pattern that understands escapes for the next 64 KB.
    """
    at = start
    while True:
        quote = body.find(b'"', at)
        if quote < 0:
            raise BadBody("a string is not closed")
        before = quote
        while before > at and body[before - 1] == 0x5C:
            before -= 1
        if (quote - before) % 2 == 0:
            return quote
        match = _STRING.match(body, quote + 1, quote + 1 + _WINDOW)
        at = match.end() if match else quote + 1


def _unescaped(body: Body, start: int, end: int, piece: int) -> bytes:
    """The string between its quotes as UTF-8; by json.loads piece by piece, so with its rules and its complaints."""
    out = io.BytesIO()
    while start < end:
        cut = _cut(body, start, end, piece)
        if cut <= start:
            raise BadBody("a string has a broken escape")
        if _is_plain(body, start, cut):
            out.write(memoryview(body)[start:cut])
        else:
            text: str = json.loads(f'"{bytes(body[start:cut]).decode()}"')
            out.write(_encoded(text))
        start = cut
    return out.getvalue()  # BytesIO hands its buffer over without a copy


def _is_plain(body: Body, start: int, end: int) -> bool:
    """Whether that is ASCII in which json.loads would find nothing to change and nothing to complain of."""
    if body.find(b"\\", start, end) >= 0:
        return False
    characters = np.frombuffer(body, np.uint8, end - start, start)
    return bool(characters.min() >= 0x20 and characters.max() < 0x80)


def _cut(body: Body, start: int, end: int, piece: int) -> int:
    """The end of the next piece: after a whole character, a whole escape, and a whole pair of surrogates."""
    stop = start + piece
    if stop >= end:
        return end
    if body.find(b"\\", start, stop) >= 0:
        match = _WHOLE.match(body, start, stop)
        stop = match.end() if match else start
    while stop > start and body[stop] & 0xC0 == 0x80:
        stop -= 1
    return stop


def _put_back(value: Json, mark: str, long: list[bytes]) -> Json:
    if isinstance(value, str):
        return long[int(value.removeprefix(mark))] if value.startswith(mark) else value
    if isinstance(value, list):
        return [_put_back(item, mark, long) for item in value]
    if isinstance(value, dict):
        if any(name.startswith(mark) for name in value):
            raise BadBody("a name is too long")
        return {name: _put_back(item, mark, long) for name, item in value.items()}
    return value
