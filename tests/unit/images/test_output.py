"""Writing PNG files, and the file that callers get."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from orchestrator.errors import BackendError
from orchestrator.images.encode import to_output
from orchestrator.images.png import encode_png, strip_png
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
