"""Picture files of every kind, whole and damaged, to plain RGB."""

import io
import resource
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms

from orchestrator.errors import InvalidParameters
from orchestrator.images.decode import decode_mask, decode_picture
from tests.unit.images.pictures import noise, opened, saved, scene

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")
LIMIT = 1_000_000


def decode(data: bytes, limit: int = LIMIT) -> Image.Image:
    image = decode_picture(data, "image", limit)
    assert image.mode == "RGB"
    return image


def complaint(data: bytes, limit: int = LIMIT) -> str:
    with pytest.raises(InvalidParameters) as caught:
        decode(data, limit)
    assert [error.field for error in caught.value.fields] == ["image"]
    return caught.value.fields[0].message


def difference(left: Image.Image, right: Image.Image) -> float:
    assert left.size == right.size
    return float(np.abs(np.asarray(left, np.int16) - np.asarray(right, np.int16)).mean())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_a_lossless_picture_comes_back_bit_exact(kind: str, options: dict[str, object]) -> None:
    assert decode(saved(scene(), kind, **options)).tobytes() == scene().tobytes()


@pytest.mark.parametrize(("kind", "most"), [("JPEG", 6.0), ("WEBP", 6.0), ("AVIF", 6.0), ("GIF", 30.0)])
def test_a_lossy_picture_comes_back_nearly(kind: str, most: float) -> None:
    assert difference(decode(saved(scene(), kind)), scene()) < most


@pytest.mark.parametrize("kind", ["PPM", "ICO", "PCX", "TGA", "JPEG2000", "PDF", "EPS"])
def test_other_formats_are_refused(kind: str) -> None:
    assert "not a picture that can be read" in complaint(saved(scene(), kind))


@pytest.mark.parametrize(
    "data",
    [b"hello", b"\0" * 100, b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x89PNG"],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    assert "not a picture" in complaint(data)


def test_an_empty_file_is_refused() -> None:
    assert "empty (0 bytes)" in complaint(b"")


def test_sixteen_bit_gray_is_scaled_and_not_cut_off() -> None:
    values = np.linspace(0, 65535, 64 * 48, dtype=np.uint16).reshape(48, 64)
    expected = np.round(values / 257).astype(np.uint8)
    for kind in ("PNG", "TIFF"):
        image = decode(saved(Image.fromarray(values), kind))
        assert np.array_equal(np.asarray(image)[:, :, 0], expected)


def test_a_32_bit_gray_tiff_within_16_bits_is_scaled_and_others_are_refused() -> None:
    values = np.full((8, 8), 40_000, np.int32)
    assert decode(saved(Image.fromarray(values), "TIFF")).getpixel((0, 0)) == (156, 156, 156)
    assert "8 bits" in complaint(saved(Image.fromarray(values * 10), "TIFF"))
    assert "8 bits" in complaint(saved(Image.fromarray(values - 50_000), "TIFF"))


def test_a_float_tiff_is_refused() -> None:
    assert "8 bits" in complaint(saved(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_shown_on_white(mode: str) -> None:
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 10, 20))
    read = decode(saved(image.convert(mode), "PNG"))
    assert read.getpixel((2, 2)) == (255, 255, 255)
    assert read.getpixel((15, 15)) == (0, 0, 0)


def test_half_transparency_is_mixed_with_white() -> None:
    assert decode(saved(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG")).getpixel((0, 0)) == (127, 127, 127)


def dark_palette() -> Image.Image:
    """All of colour 3, which is dark; the other colours are there, so that none is dropped when saving."""
    image = Image.new("P", (4, 4), 3)
    image.putpalette(range(12))
    image.putpixel((3, 3), 0)
    return image


@pytest.mark.parametrize(
    ("image", "transparent"),
    [
        (dark_palette(), 3),
        (dark_palette(), bytes([255, 255, 255, 0])),
        (Image.new("L", (4, 4), 7), 7),
        (Image.new("RGB", (4, 4), (1, 2, 3)), (1, 2, 3)),
        (Image.new("1", (4, 4), 0), 0),
        (Image.fromarray(np.full((4, 4), 500, np.uint16)), 500),
    ],
    ids=["palette", "palette with alpha", "gray", "rgb", "bilevel", "16 bits"],
)
def test_a_transparent_colour_is_shown_on_white(image: Image.Image, transparent: object) -> None:
    assert decode(saved(image, "PNG", transparency=transparent)).getpixel((0, 0)) == (255, 255, 255)


def test_a_gif_with_a_transparent_colour_is_shown_on_white() -> None:
    assert decode(saved(Image.new("P", (4, 4), 3), "GIF", transparency=3)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_without_a_profile_is_converted_plainly(kind: str) -> None:
    assert difference(decode(saved(scene().convert("CMYK"), kind)), scene()) < 12


def test_cmyk_with_a_broken_profile_is_converted_plainly() -> None:
    data = saved(scene().convert("CMYK"), "JPEG", icc_profile=b"not a profile")
    assert difference(decode(data), scene()) < 12


def gray_ink_profile() -> bytes:
    """An ICC profile (version 2, mft1 table) of a press whose every colour is gray: each ink takes 60 of 255 off L."""
    steps = bytes(range(256))
    inks = [(c + m + y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    grid = b"".join(bytes([0 if black else 255 - 60 * colours, 128, 128]) for colours, black in inks)
    unit = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    white = struct.pack(">3i", 63190, 65536, 54061)
    tags = {
        b"A2B0": b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + unit + steps * 4 + grid + steps * 3,
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(78),
        b"cprt": b"text\0\0\0\0x\0\0\0",
        b"wtpt": b"XYZ \0\0\0\0" + white,
    }
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + white
    return head.ljust(128, b"\0") + table + body


def test_cmyk_is_converted_by_its_profile() -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    assert decode(saved(cyan, "TIFF")).getpixel((0, 0)) == (0, 255, 255)
    red, green, blue = decode(saved(cyan, "TIFF", icc_profile=gray_ink_profile())).getpixel((0, 0))
    assert red == green == blue == pytest.approx(189, abs=2)


def test_a_profile_of_an_rgb_picture_leaves_its_numbers_alone() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode(saved(scene(), "PNG", icc_profile=profile)).tobytes() == scene().tobytes()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert decode(data).getpixel((8, 8)) == (255, 0, 0)


TURNED = {
    1: scene(),
    2: scene().transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: scene().transpose(Image.Transpose.ROTATE_180),
    4: scene().transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: scene().transpose(Image.Transpose.TRANSPOSE),
    6: scene().transpose(Image.Transpose.ROTATE_90),
    7: scene().transpose(Image.Transpose.TRANSVERSE),
    8: scene().transpose(Image.Transpose.ROTATE_270),
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_a_picture_turned_by_exif_is_put_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    assert difference(decode(saved(TURNED[orientation], kind, exif=exif)), scene()) < 8


def test_damaged_exif_is_no_reason_to_refuse_a_picture() -> None:
    data = saved(scene(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode(data).size == (64, 48)


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header announces that many pixels and which holds none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [1001, 10_000, 12_000, 65_000])
def test_a_bomb_is_refused_by_its_header(side: int) -> None:
    assert "make it smaller" in complaint(bomb(side, side))


def test_a_picture_of_exactly_the_limit_is_taken() -> None:
    data = saved(Image.new("L", (100, 50)), "PNG")
    assert decode(data, 5000).size == (100, 50)
    assert "100x50" in complaint(data, 4999)


WHOLE = {
    "PNG": saved(scene(), "PNG"),
    "PNG, palette": saved(scene().quantize(16), "PNG", transparency=2),
    "PNG, 16 bits": saved(Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64)), "PNG"),
    "APNG": saved(scene(), "PNG", save_all=True, append_images=[noise(64, 48)]),
    "JPEG": saved(scene(), "JPEG"),
    "JPEG, progressive": saved(scene(), "JPEG", progressive=True),
    "JPEG, CMYK": saved(scene().convert("CMYK"), "JPEG", icc_profile=b"\0" * 200),
    "WEBP": saved(scene(), "WEBP"),
    "WEBP, animated": saved(scene(), "WEBP", save_all=True, append_images=[noise(64, 48)], lossless=True),
    "GIF": saved(scene(), "GIF"),
    "BMP": saved(scene(), "BMP"),
    "TIFF": saved(scene(), "TIFF"),
    "TIFF, LZW": saved(scene(), "TIFF", compression="tiff_lzw"),
    "TIFF, JPEG": saved(scene(), "TIFF", compression="jpeg"),
    "AVIF": saved(scene(), "AVIF"),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_truncated_file_is_refused_and_never_half_a_picture(kind: str) -> None:
    data = WHOLE[kind]
    whole = decode(data).tobytes()
    for share in range(1, 60):
        try:
            read = decode(data[: len(data) * share // 60])
        except InvalidParameters as error:
            assert error.fields[0].field == "image"  # noqa: PT017
        else:
            assert read.tobytes() == whole


@pytest.mark.parametrize("reader", [decode_picture, decode_mask])
@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(sorted(WHOLE)), data=st.data())
@example(kind="PNG", data=None)
def test_a_damaged_file_is_a_picture_or_a_complaint(reader: object, kind: str, data: st.DataObject | None) -> None:
    damaged = bytearray(WHOLE[kind])
    if data is not None:
        # headers matter most, so half of the changes go there
        places = st.integers(0, min(200, len(damaged) - 1)) | st.integers(0, len(damaged) - 1)
        for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)):
            damaged[place] = value
        if data.draw(st.booleans()):
            start, size = data.draw(places), data.draw(st.integers(1, 50))
            del damaged[start : start + size]
    try:
        image = reader(bytes(damaged), "image", LIMIT)  # type: ignore[operator]
    except InvalidParameters as error:
        assert error.fields[0].field == "image"  # noqa: PT017
    else:
        assert image.width * image.height <= LIMIT
        assert opened(saved(image, "PNG")).size == image.size


def test_a_large_webp_or_avif_is_decoded_in_a_child_process_to_the_same_pixels() -> None:
    image = scene(2000, 1100)
    for kind, options in (("WEBP", {"lossless": True, "method": 0}), ("AVIF", {"speed": 10})):
        data = saved(image, kind, **options)
        assert decode(data, 3_000_000).tobytes() == Image.open(io.BytesIO(data)).convert("RGB").tobytes()


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_a_damaged_large_webp_or_avif_is_refused(kind: str) -> None:
    options: dict[str, object] = {"lossless": True, "method": 0} if kind == "WEBP" else {"speed": 10}
    data = bytearray(saved(scene(2000, 1100), kind, **options))
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    assert "damaged" in complaint(bytes(data), 3_000_000)


def test_a_large_turned_webp_is_put_upright() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image = scene(2000, 1100)
    data = saved(image.transpose(Image.Transpose.ROTATE_90), "WEBP", lossless=True, method=0, exif=exif)
    assert decode(data, 3_000_000).tobytes() == image.tobytes()


@pytest.mark.parametrize(
    ("kind", "side", "apart"), [("WEBP", 1600, True), ("AVIF", 1600, True), ("WEBP", 400, False), ("PNG", 1600, False)]
)
def test_what_would_hold_up_the_event_loop_is_decoded_in_a_process_of_its_own(
    kind: str, side: int, apart: bool
) -> None:
    picture = saved(scene(side, side), kind)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    assert decode_picture(picture, "image", 10**7).size == (side, side)
    assert (resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt > before) is apart
