"""Pictures and masks as requests bring them, and the event loop meanwhile."""

import asyncio
import binascii
import io
import struct
import time
import zlib
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from orchestrator.errors import InvalidParameters
from orchestrator.images.encode import to_output
from orchestrator.images.mask import require_latent_mask
from orchestrator.images.picture import wrong
from orchestrator.images.png import encode_png
from orchestrator.images.source import Mask, PictureSource
from orchestrator.images.threads import PictureThreads
from tests.unit.images.pictures import b64, noise, opened, saved, scene
from tests.unit.loop_gap import LIMIT, least_worst_gap


async def complaint(work: Awaitable[object], field: str) -> str:
    with pytest.raises(InvalidParameters) as caught:
        await work
    assert [error.field for error in caught.value.fields] == [field]
    return caught.value.fields[0].message


async def test_a_picture_is_read_bit_exact(source: PictureSource) -> None:
    picture = await source.read(b64(saved(scene(), "PNG")), "image")
    assert opened(picture.png).tobytes() == scene().tobytes()
    assert (picture.field, picture.width, picture.height) == ("image", 64, 48)


async def test_equal_pictures_have_equal_names_and_others_do_not(source: PictureSource) -> None:
    told = io.BytesIO()
    about = PngInfo()
    about.add_text("parameters", "a secret prompt")
    scene().save(told, "PNG", pnginfo=about)
    files = [
        saved(scene(), "PNG"),
        told.getvalue(),
        saved(scene(), "BMP"),
        saved(scene(), "TIFF"),
        saved(scene(), "JPEG"),
    ]
    names = [(await source.read(file, "image")).name for file in files]
    assert names[0] == names[1]
    assert names[2] == names[3] != names[4]
    assert names[0].endswith(".png")


async def test_a_png_that_needs_no_change_goes_on_as_it_came_but_for_its_metadata(source: PictureSource) -> None:
    file = io.BytesIO()
    about = PngInfo()
    about.add_text("parameters", "a secret prompt")
    scene().save(file, "PNG", pnginfo=about, dpi=(72, 72))
    assert (await source.read(file.getvalue(), "image")).png == saved(scene(), "PNG")


def _turned() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return saved(scene(), "PNG", exif=exif)


def _see_through() -> bytes:
    return saved(scene(), "PNG", transparency=scene().getpixel((0, 0)))


def _deep() -> bytes:
    """16 bits a channel, which Pillow reads as RGB and cannot write."""
    rows = np.asarray(scene()).astype(">u2") * 257
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    return _png(struct.pack(">IIBBBBB", 64, 48, 16, 2, 0, 0, 0), zlib.compress(raw))


def _padded() -> bytes:
    """With more compressed data than there are pixels for."""
    raw = b"".join(b"\0" + row.tobytes() for row in np.asarray(scene()))
    return _png(struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0), zlib.compress(raw) + bytes(2_000_000))


def _png(header: bytes, data: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("make", [_turned, _see_through, _deep, _padded])
async def test_a_png_that_is_not_just_its_pixels_is_encoded_anew(
    source: PictureSource, make: Callable[[], bytes]
) -> None:
    picture = await source.read(make(), "image")
    with Image.open(io.BytesIO(picture.png)) as image:
        assert (image.mode, image.size, dict(image.info)) == ("RGB", (picture.width, picture.height), {})
        assert picture.png == encode_png(image)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("ftp://example.org/a", "scheme 'ftp'"),
        ("C:\\picture.png", "scheme 'c'"),
        ("/etc/passwd", "not a picture"),
        ("hello there", "not a picture"),
        ("http://127.0.0.1/", "does not connect to"),
        (b"http://127.0.0.1/", "does not connect to"),
        ("", "nothing in it"),
        (b"", "empty"),
        (b"PYTHON = python3\n\nall:\n\t$(PYTHON) -m build\n", "not a picture that can be read; send PNG, JPEG"),
        (b"all: build\n", "not a picture that can be read"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not a picture that can be read"),
        (b64(b"no picture"), "not a picture"),
        (saved(scene(), "PNG")[:-100], "damaged or cut off; save it again"),
    ],
)
async def test_what_is_wrong_names_the_field(source: PictureSource, content: str | bytes, says: str) -> None:
    assert says in await complaint(source.read(content, "image"), "image")
    assert says in await complaint(read_mask(source, content, (64, 48)), "mask")


async def read_mask(source: PictureSource, content: str | bytes, size: tuple[int, int]) -> Mask:
    return await source.fit_mask(await source.read_mask(content, "mask"), size)


async def test_a_mask_is_checked_at_its_pictures_size(source: PictureSource) -> None:
    def check(mask: Mask) -> None:
        if mask.width < 64:
            raise wrong("mask", f"{mask.width} is too narrow")

    drawn = await source.read_mask(saved(circle(32, 24), "PNG"), "mask", check)
    assert (await source.fit_mask(drawn, (64, 48))).width == 64
    assert "32 is too narrow" in await complaint(source.fit_mask(drawn, (32, 24)), "mask")
    drawn = await source.read_mask(saved(circle(64, 48), "PNG"), "mask", check)
    assert "32 is too narrow" in await complaint(source.fit_mask(drawn, (32, 24)), "mask")
    assert (await source.fit_mask(drawn, (64, 48))).width == 64
    assert "aspect ratios" in await complaint(source.fit_mask(drawn, (64, 64)), "mask")


def circle(width: int, height: int, mode: str = "L", paint: object = 255, ground: object = 0) -> Image.Image:
    image = Image.new(mode, (width, height), ground)  # type: ignore[arg-type]
    ImageDraw.Draw(image).ellipse((width * 0.25, height * 0.25, width * 0.75, height * 0.75), fill=paint)  # type: ignore[arg-type]
    return image


EXPECTED = np.asarray(circle(64, 48)) > 0


@pytest.mark.parametrize(
    "image",
    [
        circle(64, 48),
        circle(64, 48, paint=128, ground=127),
        circle(64, 48, "RGB", (255, 255, 255), (100, 100, 100)),
        circle(64, 48, "1", 1),
        circle(64, 48, "RGBA", (0, 0, 0, 255), (255, 255, 255, 0)),
        circle(64, 48, "RGBA", (0, 0, 0, 129), (255, 255, 255, 128)),
        circle(64, 48, "RGBA", (255, 255, 255, 255), (0, 0, 0, 255)),
        circle(64, 48, "RGBA", (255, 255, 255, 0), (0, 0, 0, 0)),
        circle(64, 48, "LA", (0, 255), (255, 0)),
        Image.fromarray(np.where(EXPECTED, 65535, 0).astype(np.uint16)),
    ],
    ids=[
        "white",
        "threshold",
        "colour",
        "bilevel",
        "alpha",
        "alpha threshold",
        "opaque",
        "all transparent",
        "LA",
        "16 bits",
    ],
)
async def test_a_mask_is_white_or_its_alpha(source: PictureSource, image: Image.Image) -> None:
    mask = await read_mask(source, b64(saved(image, "PNG")), (64, 48))
    assert np.array_equal(mask.region, EXPECTED)
    written = opened(mask.png)
    assert written.mode == "L"
    assert np.array_equal(np.asarray(written), np.where(EXPECTED, 255, 0))


async def test_red_is_too_dark_to_be_mask(source: PictureSource) -> None:
    mask = await read_mask(source, saved(circle(64, 48, "RGB", (255, 0, 0)), "PNG"), (64, 48))
    assert not mask.region.any()


async def test_a_transparent_palette_colour_is_outside_the_mask(source: PictureSource) -> None:
    image = circle(64, 48, "P", 1)
    image.putpalette([200, 200, 200, 0, 0, 0])
    mask = await read_mask(source, saved(image, "PNG", transparency=0), (64, 48))
    assert np.array_equal(mask.region, EXPECTED)


async def test_the_noise_of_a_jpeg_leaves_no_trace(source: PictureSource) -> None:
    mask = await read_mask(source, saved(circle(640, 480), "JPEG", quality=60), (640, 480))
    assert np.count_nonzero(mask.region != (np.asarray(circle(640, 480)) > 0)) < 60


@pytest.mark.parametrize("size", [(160, 120), (640, 480), (1280, 960), (200, 151)])
async def test_a_mask_of_another_size_is_brought_to_the_picture_s(source: PictureSource, size: tuple[int, int]) -> None:
    mask = await read_mask(source, saved(circle(*size), "PNG"), (320, 240))
    assert mask.region.shape == (240, 320)
    wanted = np.asarray(circle(320, 240)) > 0
    assert np.count_nonzero(mask.region != wanted) < 0.04 * np.count_nonzero(wanted)
    assert set(np.unique(np.asarray(opened(mask.png)))) == {0, 255}


@pytest.mark.parametrize(
    ("size", "fits"), [((101, 100), True), ((99, 100), True), ((102, 100), False), ((48, 64), False)]
)
async def test_an_aspect_ratio_of_more_than_a_percent_off_is_refused(
    source: PictureSource, size: tuple[int, int], fits: bool
) -> None:
    reading = read_mask(source, saved(circle(*size), "PNG"), (1000, 1000))
    if fits:
        assert (await reading).region.shape == (1000, 1000)
    else:
        said = await complaint(reading, "mask")
        assert f"{size[0]}x{size[1]}" in said
        assert "1000x1000" in said


async def test_work_that_takes_too_long_ends_at_the_deadline() -> None:
    async with PictureThreads(1, deadline=0.05) as threads, PictureSource(threads) as source:
        blocked = asyncio.ensure_future(threads.run(time.sleep, 0.5))
        await asyncio.sleep(0)
        assert "too long" in await complaint(source.read(saved(scene(), "PNG"), "image"), "image")
        with pytest.raises(TimeoutError):
            await blocked


async def test_no_warning_of_pillow_leaks(source: PictureSource) -> None:
    """Warnings are errors in the tests, so one would end up here as an exception of another kind."""
    image = Image.new("1", (10_000, 10_000))
    assert "make it smaller" in await complaint(source.read(saved(image, "PNG"), "image"), "image")
    broken_exif = saved(scene(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\xff\xff")
    assert (await source.read(broken_exif, "image")).width == 64


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "RGBA"])
async def test_a_12_megapixel_picture_does_not_hold_up_the_event_loop(source: PictureSource, kind: str) -> None:
    image = noise(4000, 3000) if kind in ("PNG", "JPEG") else scene(4000, 3000)
    options: dict[str, object] = {"PNG": {"compress_level": 0}, "WEBP": {"method": 0}}.get(kind, {})
    data = saved(image.convert("RGBA"), "TIFF") if kind == "RGBA" else saved(image, kind, **options)
    text = b64(data)
    gap = await least_worst_gap(lambda: source.read(text, "image"))
    print(f"{kind}: {len(text) / 1e6:.1f} MB of base64, worst gap {gap * 1000:.1f} ms")
    assert gap <= LIMIT


async def test_a_12_megapixel_mask_and_answer_do_not_hold_up_the_event_loop(
    source: PictureSource, threads: PictureThreads
) -> None:
    data = b64(saved(circle(4000, 3000), "PNG"))
    answer = (await source.read(saved(scene(4000, 3000), "BMP"), "image")).png

    async def job() -> None:
        mask = await read_mask(source, data, (4001, 3001))
        await threads.run(require_latent_mask, mask, blur=64, invert=False)
        await threads.run(to_output, answer, "png")
        await threads.run(to_output, answer, "jpeg")

    gap = await least_worst_gap(job)
    print(f"mask and answer: worst gap {gap * 1000:.1f} ms")
    assert gap <= LIMIT


async def test_the_gap_is_seen_when_there_is_one(threads: PictureThreads) -> None:
    """So that the tests above can fail: one call that holds the GIL."""
    text = bytes(100_000_000)
    assert await least_worst_gap(lambda: threads.run(binascii.b2a_base64, text)) > LIMIT
