"""Writing PNG files quickly, in bands, and changing the metadata of one. Must not know what the pictures are for.

Why not Pillow's encoder: it tries five filters on every row whatever the level, 30 ms for 512x512 and 2.2 s for a noisy
12-megapixel picture. Here it is one filter and ISA-L's deflate, or zlib's by run lengths where that is not built: a
tenth or a third of the time, and not much larger.
"""

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

try:
    from isal import isal_zlib as quick
except ImportError:  # a machine that it is not built for: zlib takes two to three times as long
    import zlib as quick  # type: ignore[no-redef]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {"L": (0, 1), "RGB": (2, 3)}
_BAND_BYTES = 1 << 20
# Below this, storing beats compressing on any link faster than 300 Mbit/s, and a picture is at most 6 MB.
_STORED_PIXELS = 2_000_000
_FILTER_UP = 2
_LAST_FILTER = 4
_INFLATE_ERROR: type[Exception] = quick.error  # type: ignore[assignment] # its stub says an instance
_ESSENTIAL = frozenset({b"IHDR", b"IDAT", b"IEND"})
_HARMLESS = frozenset({b"pHYs", b"sRGB", b"gAMA"})
"""They say how large and how bright the pixels are meant, which nobody here heeds."""
_KEPT = _ESSENTIAL | {b"PLTE", b"tRNS"}


def encode_png(image: Image.Image) -> bytes:
    """`image` (mode L or RGB) as an 8-bit PNG without metadata; stored if RGB below 2 megapixels, else deflated."""
    colour_type, channels = _COLOUR_TYPES[image.mode]
    width, height = image.size
    # Gray ones are masks, a kilobyte instead of 260 for 512x512: quicker to keep and to send.
    is_stored = image.mode == "RGB" and width * height < _STORED_PIXELS
    if is_stored or quick is zlib:
        deflate = zlib.compressobj(0 if is_stored else 1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    else:
        deflate = quick.compressobj(1)  # type: ignore[assignment] # has the same methods
    out = io.BytesIO()
    out.write(SIGNATURE)
    _write_chunk(out, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0))
    rows = max(1, _BAND_BYTES // (width * channels))
    above = np.zeros((1, width * channels), np.uint8)
    for top in range(0, height, rows):
        # Band by band, so that no copy holds the GIL for longer than a millisecond.
        part = image.crop((0, top, width, min(top + rows, height))) if rows < height else image
        band = np.asarray(part).reshape(-1, width * channels)
        _write_chunk(out, b"IDAT", deflate.compress(_filtered(band, above).data))
        above = band[-1:]
    _write_chunk(out, b"IDAT", deflate.flush())
    _write_chunk(out, b"IEND", b"")
    return out.getvalue()


def strip_png(data: bytes, texts: Mapping[str, str] | None = None) -> bytes:
    """The same picture, bit for bit, with the chunks that make it up and no others but `texts`, by keyword.

    A text chunk holds Latin-1. Raises ValueError if `data` is not a whole PNG.
    """
    return _with_chunks(data, _KEPT, texts or {})


def plain_png(data: bytes) -> bytes | None:
    """The PNG `data`, bit for bit and without metadata, if that is a picture as `encode_png` makes them: 8-bit RGB.

    None for one with transparency, with frames, or larger than it would be stored. `data` must have been decoded to the
    last pixel. Raises ValueError as `strip_png`.
    """
    width, height, depth, colour_type = struct.unpack_from(">IIBB", data, len(SIGNATURE) + 8)
    if (depth, colour_type) != (8, 2) or {kind for kind, _, _ in _chunks(data)} & {b"tRNS", b"acTL"}:
        return None
    plain = _with_chunks(data, _ESSENTIAL)
    return plain if len(plain) <= height * (3 * width + 1) + _BAND_BYTES else None


def verified_png(data: bytes, max_pixels: int) -> tuple[bytes, int, int] | None:
    """What `plain_png` gives and its width and height, for a PNG that it would give it for; None where that is open.

    Inflated to the last byte, with every checksum and every row's filter looked at, but not decoded to pixels, which
    nobody needs: two thirds of the time. Only for pictures below 2 megapixels, and without any chunk that might turn or
    describe the picture: those are for a decoder.
    """
    try:
        chunks = list(_chunks(data))
    except ValueError:
        return None
    kinds = [kind for kind, _, _ in chunks]
    _, start, end = chunks[0]
    # A decoder may take the last header for the picture's, and the pixels up to a chunk that parts them for all.
    in_order = kinds[0] == b"IHDR" and kinds.count(b"IHDR") == 1 and b"IDAT" in kinds
    in_order = in_order and set(kinds[kinds.index(b"IDAT") :][: kinds.count(b"IDAT")]) == {b"IDAT"}
    if not in_order or end - start != 25 or not set(kinds) <= _ESSENTIAL | _HARMLESS:
        return None
    width, height, *form = struct.unpack_from(">IIBBBBB", data, start + 8)
    if form != [8, 2, 0, 0, 0] or not 0 < width * height < min(_STORED_PIXELS, max_pixels + 1):
        return None
    view, row = memoryview(data), 1 + 3 * width
    if any(quick.crc32(view[start + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]) for _, start, end in chunks):
        return None
    inflate = quick.decompressobj()
    try:
        packed = b"".join(view[start + 8 : end - 4] for kind, start, end in chunks if kind == b"IDAT")
        rows = inflate.decompress(packed, height * row + 1)
    except _INFLATE_ERROR:
        return None
    if not inflate.eof or len(rows) != height * row or max(rows[::row]) > _LAST_FILTER:
        return None
    plain = plain_png(data)
    return None if plain is None else (plain, width, height)


def _with_chunks(data: bytes, kinds: frozenset[bytes], texts: Mapping[str, str] = MappingProxyType({})) -> bytes:
    chunks = list(_chunks(data))
    if not texts and chunks[-1][2] == len(data) and {kind for kind, _, _ in chunks} <= kinds:
        return data
    out, view = io.BytesIO(), memoryview(data)
    out.write(SIGNATURE)
    for kind, start, end in chunks:
        if kind in kinds:
            for at in range(start, end, _BAND_BYTES):
                out.write(view[at : min(end, at + _BAND_BYTES)])
        if kind == b"IHDR":
            for keyword, text in texts.items():
                _write_chunk(out, b"tEXt", keyword.encode("latin-1") + b"\0" + text.encode("latin-1"))
    return out.getvalue()


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of every chunk to the last. Raises ValueError if `data` is not a whole PNG."""
    if not data.startswith(SIGNATURE):
        raise ValueError("not a PNG")
    at, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        size, kind = struct.unpack_from(">I4s", data, at) if at + 12 <= len(data) else (0, b"")
        end = at + 12 + size
        if not kind or end > len(data):
            raise ValueError("the PNG is cut off")
        yield kind, at, end
        at = end


def _filtered(band: NDArray[np.uint8], above: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each row less the row above it, led by its filter byte: flat areas become runs of zeros."""
    rows = np.empty((band.shape[0], band.shape[1] + 1), np.uint8)
    rows[:, 0] = _FILTER_UP
    np.subtract(band[:1], above, out=rows[:1, 1:])
    np.subtract(band[1:], band[:-1], out=rows[1:, 1:])
    return rows


def _write_chunk(out: io.BytesIO, kind: bytes, content: bytes) -> None:
    if kind == b"IDAT" and not content:
        return
    out.write(struct.pack(">I", len(content)) + kind)
    out.write(content)
    out.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(kind))))
