"""Pictures that come inside the request: base64, data URLs, and files of a form. Must not know what the bytes are.

Everything is cut into pieces, because binascii and every copy hold the GIL: 48 MB of base64 in one call is 140 ms.
"""

import binascii
import io
import re
from collections.abc import Iterator

import pybase64

from orchestrator.images.picture import wrong

_PIECE = 1 << 18
_STANDARD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_WHITESPACE = b" \t\r\n\f\v"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_DATA_URL = re.compile(r"data:(?P<type>[^,;]*)(?P<options>(?:;[^,;]*)*),", re.IGNORECASE)
_SCHEME = re.compile(r"\s*(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):")
_HEAD = 1024
"""Characters looked at to tell what an input is."""
_WRITTEN = re.compile(rb"\s*+(?:(?:https?|data):.*|[A-Za-z0-9+/_\-\s]*+[=\s]*+)", re.IGNORECASE | re.DOTALL)
"""How a URL or base64 begins. Nothing is given back, or a head of blanks would take a second."""


def scheme_of(content: str | bytes) -> str | None:
    """The scheme ("http", "data", …) in lower case if the input is written as a URL; None for base64 and for files."""
    if isinstance(content, bytes) and not is_text(content):
        return None
    match = _SCHEME.match(_head(content))
    return match["scheme"].lower() if match else None


def is_text(content: bytes) -> bool:
    """Whether the bytes are base64 or a URL rather than a picture file.

    A parsed JSON body hands long strings over as bytes, and a form's file may hold base64. Neither begins as a picture
    does, nor as text for people: a file of that is told that it is no picture, not what is wrong with its base64.
    """
    return bool(content) and _WRITTEN.fullmatch(content[:_HEAD]) is not None


def file_bytes(content: str | bytes, field: str, max_bytes: int) -> bytes:
    """The picture file inside an inline input: a data URL, bare base64, or the file itself.

    Raises InvalidParameters naming `field` for one that is empty, not base64, or over `max_bytes`.
    """
    if isinstance(content, bytes) and not is_text(content):
        if not content:
            raise wrong(field, "The file is empty (0 bytes); send a picture.")
        if len(content) > max_bytes:
            raise wrong(field, _too_large(max_bytes))
        return content
    data = _decoded(content, _base64_start(content, field), field, max_bytes)
    if not data:
        raise wrong(field, "There is nothing in it; send a picture as a URL, a data URL or base64.")
    return data


def _head(content: str | bytes) -> str:
    head = content[:_HEAD]
    return head if isinstance(head, str) else head.decode("ascii", "replace")


def _base64_start(content: str | bytes, field: str) -> int:
    if scheme_of(content) is None:
        return 0
    head = _head(content)
    lead = len(head) - len(head.lstrip())
    match = _DATA_URL.match(head, lead)
    if not match:
        raise wrong(field, "The data URL has no comma after its type; write data:image/png;base64,…")
    if "base64" not in match["options"].lower().split(";"):
        raise wrong(field, "The data URL is not base64; write data:image/png;base64,…")
    return match.end()


def _decoded(content: str | bytes, start: int, field: str, max_bytes: int) -> bytes:
    out = io.BytesIO()
    plain = start + _decode_plain(content, start, out, max_bytes)
    if out.tell() > max_bytes:
        raise wrong(field, _too_large(max_bytes))
    rest = b""
    for piece in _clean_pieces(content, plain, field):
        rest += piece
        whole = len(rest) & ~3
        out.write(binascii.a2b_base64(rest[:whole]))
        rest = rest[whole:]
        if out.tell() + len(rest) * 3 // 4 > max_bytes:
            raise wrong(field, _too_large(max_bytes))
    if len(rest) == 1:
        raise wrong(field, "The base64 is cut off: one character is left over; encode the picture again.")
    out.write(binascii.a2b_base64(rest + b"=" * (-len(rest) % 4)))
    return out.getvalue()  # BytesIO hands its buffer over without a copy


def _decode_plain(content: str | bytes, start: int, out: io.BytesIO, max_bytes: int) -> int:
    """Decodes as far as it is the standard alphabet and nothing else, which is fifty times as fast as the rest; how
    many characters that were."""
    for at in range(start, len(content), _PIECE):
        piece = content[at : at + _PIECE]
        try:
            decoded = pybase64.b64decode(piece, validate=True)
        except ValueError:  # also binascii.Error: a line's end, the alphabet for URLs, or what is no base64
            return at - start
        padded = len(decoded) * 4 != len(piece) * 3
        if out.tell() > max_bytes or (padded and at + _PIECE < len(content)):
            return at - start
        out.write(decoded)
    return max(0, len(content) - start)


def _clean_pieces(content: str | bytes, start: int, field: str) -> Iterator[bytes]:
    """The base64 digits in the standard alphabet, without whitespace and the padding at the end."""
    padded = False
    for at in range(start, len(content), _PIECE):
        piece = content[at : at + _PIECE]
        raw = piece.encode("utf-8", "replace") if isinstance(piece, str) else piece
        digits = raw.translate(_URL_SAFE, _WHITESPACE)
        if padded or b"=" in digits:
            digits, _, padding = digits.partition(b"=") if not padded else (b"", b"", digits)
            padded = True
            if padding.strip(b"="):
                raise wrong(field, "The base64 goes on after its padding (=); encode the picture in one piece.")
        if strange := digits.translate(None, _STANDARD):
            shown = strange[:1].decode("ascii", "replace")
            raise wrong(field, f"It is neither a URL nor base64: {shown!r} is no base64 character.")
        yield digits


def _too_large(max_bytes: int) -> str:
    return f"The picture file is larger than the {max_bytes} bytes that are taken; make it smaller."
