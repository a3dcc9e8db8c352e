"""Writing PNG files, and the file that callers get."""

import contextlib
import importlib.util
import io
import struct
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from orchestrator.errors import BackendError
from orchestrator.images.encode import to_output
from orchestrator.images.png import SIGNATURE, encode_png, plain_png, strip_png, verified_png
from tests.unit.images.pictures import noise, opened, saved, scene


def chunks(data: bytes) -> list[bytes]:
    names, at = [], 8
    while at < len(data):
        names.append(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return names


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from(["RGB", "L"]))
def test_a_picture_of_any_size_is_written_bit_exact(width: int, height: int, mode: str) -> None:
    image = noise(width, height).convert(mode)
    read = opened(encode_png(image))
    assert (read.mode, read.size, read.tobytes()) == (mode, image.size, image.tobytes())


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_large_picture_is_compressed_and_bit_exact(mode: str) -> None:
    image = scene(2000, 1100).convert(mode)
    data = encode_png(image)
    assert opened(data).tobytes() == image.tobytes()
    assert len(data) < len(image.tobytes()) / 3


def test_a_mask_is_compressed_however_small_it_is() -> None:
    mask = np.zeros((512, 512), np.uint8)
    mask[100:300, 100:400] = 255
    data = encode_png(Image.fromarray(mask))
    assert np.array_equal(np.asarray(opened(data)), mask)
    assert len(data) < 2000


def test_a_png_of_plain_pixels_is_verified_without_being_decoded() -> None:
    for image in (scene(), noise(70, 50)):
        for data in (encode_png(image), saved(image, "PNG"), saved(image, "PNG", dpi=(72, 72), compress_level=0)):
            assert verified_png(data, 100_000) == (plain_png(data), *image.size)
    assert verified_png(saved(scene(64, 48), "PNG"), 64 * 48) is not None
    assert verified_png(saved(scene(64, 48), "PNG"), 64 * 48 - 1) is None


@pytest.mark.parametrize(
    "data",
    [
        saved(scene(), "JPEG"),
        saved(scene().convert("L"), "PNG"),
        saved(scene().convert("RGBA"), "PNG"),
        saved(scene().quantize(8), "PNG"),
        saved(scene(), "PNG", transparency=(1, 2, 3)),
        saved(scene(), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
        saved(scene(), "PNG", save_all=True, append_images=[noise(64, 48)]),
        saved(scene(), "PNG")[:-1],
        encode_png(scene(2000, 1100)),
        b"",
    ],
)
def test_what_has_to_be_decoded_is_not_verified(data: bytes) -> None:
    assert verified_png(data, 10**7) is None


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_is_verified_though_bytes_of_it_were_changed_is_a_picture_for_pillow(data: st.DataObject) -> None:
    """The checksums are made good again, so that the damage is not seen by them."""
    whole = bytearray(saved(noise(9, 7), "PNG") if data.draw(st.booleans()) else encode_png(noise(9, 7)))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(8, len(whole) - 1))] = data.draw(st.integers(0, 255))
    at = 8
    while at + 12 <= len(whole) and (size := int.from_bytes(whole[at : at + 4])) <= len(whole) - at - 12:
        end = at + 8 + size
        whole[end : end + 4] = zlib.crc32(whole[at + 4 : end]).to_bytes(4)
        at = end + 4
    found = verified_png(bytes(whole), 10**6)
    if found is not None:
        image = opened(bytes(whole))
        assert (image.mode, image.size) == ("RGB", found[1:])
        assert opened(found[0]).tobytes() == image.tobytes()


def test_damage_is_not_verified() -> None:
    whole = saved(noise(9, 7), "PNG")
    assert verified_png(whole, 10**6) is not None
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        assert verified_png(bytes(damaged), 10**6) is None


@pytest.mark.parametrize("place", [8 + 25, -12])
def test_a_second_header_is_not_verified(place: int) -> None:
    """ComfyUI's Pillow takes the picture for as large as the last one says."""
    whole = saved(noise(9, 7), "PNG")
    body = b"IHDR" + struct.pack(">IIBBBBB", 8192, 8192, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    assert verified_png(whole[:place] + header + whole[place:], 10**9) is None


def test_pixels_in_two_parts_are_not_verified() -> None:
    whole = saved(noise(9, 7), "PNG")
    at = whole.index(b"IDAT") - 4
    size = int.from_bytes(whole[at : at + 4])
    data = whole[at + 8 : at + 8 + size]

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    def joined(between: bytes) -> bytes:
        return whole[:at] + chunk(b"IDAT", data[:9]) + between + chunk(b"IDAT", data[9:]) + whole[at + 12 + size :]

    assert verified_png(joined(b""), 10**6) is not None
    assert verified_png(joined(chunk(b"tEXt", b"Comment\0x")), 10**6) is None


def test_a_row_with_a_filter_that_there_is_none_of_is_not_verified() -> None:
    rows = bytearray(b"".join(b"\0" + bytes(27) for _ in range(7)))
    assert verified_png(rgb_png(9, 7, zlib.compress(rows)), 10**6) is not None
    rows[28] = 5
    assert verified_png(rgb_png(9, 7, zlib.compress(rows)), 10**6) is None
    assert verified_png(rgb_png(9, 6, zlib.compress(rows)), 10**6) is None
    assert verified_png(rgb_png(9, 8, zlib.compress(rows)), 10**6) is None


def test_where_isal_is_not_built_zlib_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isal", None)
    found = importlib.util.find_spec("orchestrator.images.png")
    assert found is not None
    assert found.loader is not None
    without = importlib.util.module_from_spec(found)
    found.loader.exec_module(without)
    assert without.quick is zlib
    mask = scene().convert("L")
    assert opened(without.encode_png(mask)).tobytes() == mask.tobytes()
    whole = saved(noise(9, 7), "PNG")
    assert without.verified_png(whole, 10**6) == verified_png(whole, 10**6) is not None
    assert without.verified_png(rgb_png(9, 7, b"no deflate"), 10**6) is None


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_isal_takes_is_what_zlib_makes_of_it_and_has_the_streams_checksum(data: st.DataObject) -> None:
    """Codes that no byte of the stream makes use of it does not look at as closely."""
    isal_zlib = pytest.importorskip("isal.isal_zlib")
    rows = bytes(data.draw(st.lists(st.sampled_from((0, 1, 2, 255)), min_size=50, max_size=300)))
    deflate = zlib.compressobj(data.draw(st.integers(0, 9)), strategy=data.draw(st.integers(0, 4)))
    packed = bytearray(deflate.compress(rows) + deflate.flush())
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    inflate, stricter = zlib.decompressobj(), isal_zlib.decompressobj()
    try:
        taken = stricter.decompress(bytes(packed), len(rows) + 1)
    except isal_zlib.error:
        return
    if stricter.eof:
        stream = packed[: len(packed) - len(stricter.unused_data)]
        assert zlib.adler32(taken).to_bytes(4) == stream[-4:]
        with contextlib.suppress(zlib.error):
            assert inflate.decompress(bytes(packed), len(rows) + 1) == taken


def rgb_png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def described() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", '{"secret": 1}')
    info.add_itxt("workflow", "{}" * 100)
    return saved(scene(), "PNG", pnginfo=info, dpi=(72, 72))


def test_metadata_is_taken_out_and_the_picture_stays() -> None:
    stripped = to_output(described(), "png")
    assert set(chunks(described())) > {b"IHDR", b"IDAT", b"IEND"}
    assert set(chunks(stripped)) == {b"IHDR", b"IDAT", b"IEND"}
    assert opened(stripped).tobytes() == scene().tobytes()


def test_texts_are_written_as_comfyui_writes_them_and_the_picture_stays() -> None:
    texts = {"prompt": '{"1": 2}', "workflow": "{}" * 70_000}
    data = to_output(described(), "png", texts)
    assert chunks(data)[:4] == [b"IHDR", b"tEXt", b"tEXt", b"IDAT"]
    image = opened(data)
    assert image.tobytes() == scene().tobytes()
    assert {name: image.info[name] for name in texts} == texts
    assert to_output(described(), "jpeg", texts) == to_output(described(), "jpeg")


def test_a_jpeg_is_of_quality_95_without_subsampling_or_metadata() -> None:
    data = to_output(described(), "jpeg")
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
    assert image.quantization[0][0] == 2
    assert b"secret" not in data
    assert np.abs(np.asarray(image, np.int16) - np.asarray(scene(), np.int16)).max() <= 8


@pytest.mark.parametrize("data", [b"", b"hello", saved(scene(), "PNG")[:-30], saved(scene(), "PNG")[:40]])
@pytest.mark.parametrize("output_format", ["jpeg", "png"])
def test_what_is_no_whole_picture_is_the_backend_s_fault(data: bytes, output_format: str) -> None:
    with pytest.raises(BackendError):
        to_output(data, output_format)  # type: ignore[arg-type]


@given(st.binary(max_size=40), st.integers(0, 200))
def test_stripping_what_is_no_png_is_a_value_error(tail: bytes, cut: int) -> None:
    with pytest.raises(ValueError):
        strip_png(saved(scene(8, 8), "PNG")[:-12][:cut] + tail)
