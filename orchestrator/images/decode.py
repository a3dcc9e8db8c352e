"""A picture file of any origin to one plain picture: checked, oriented, first frame, flattened, 8 bits.

Synchronous; runs in `PictureThreads`. Must not know where the file came from. No exception of Pillow leaves this
module.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, UnidentifiedImageError

from orchestrator.images import apart
from orchestrator.images.picture import wrong

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_KNOWN = "PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF"

PILLOW_ERRORS = (
    OSError,  # also UnidentifiedImageError: truncated and broken files
    SyntaxError,  # Pillow's plugins say so for a broken header
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    ImageCms.PyCMSError,
)
"""What Pillow's readers raise for damaged input, found by fuzzing: the plugins index, unpack and divide what they
read."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to what puts the picture upright."""

_WITH_ALPHA = frozenset({"RGBA", "RGBa", "LA", "La", "PA"})
_DEEP_GRAY = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I"})
_ALPHA = [255 if value > 128 else 0 for value in range(256)]


def decode_picture(data: bytes, field: str, max_pixels: int) -> Image.Image:
    """The file as an upright RGB picture, whatever is transparent shown on white.

    Colours stay as stored, so that an untouched pixel comes back as it was; only CMYK is converted by its ICC profile.
    Raises InvalidParameters naming `field`.
    """
    with _complaints(field):
        return _to_rgb(_upright(data, field, max_pixels), field)


def is_untouched(image: Image.Image) -> bool:
    """Whether what `decode_picture` made is a PNG file's picture pixel for pixel: neither turned nor converted."""
    return isinstance(image, PngImagePlugin.PngImageFile)


def decode_mask(data: bytes, field: str, max_pixels: int) -> Image.Image:
    """The file as an upright gray picture, 255 where to repaint: its alpha if that varies, else its luma.

    The alpha is binary, cut above 128 as A1111 v1.10.1 does (`modules/processing.py` 90-98). One that is the same
    everywhere says nothing and is left out (A1111 would take it for the mask). Raises InvalidParameters naming `field`.
    """
    with _complaints(field):
        image = _upright(data, field, max_pixels)
        if image.has_transparency_data and image.mode not in _DEEP_GRAY:
            image = image.convert("RGBA")
            alpha = image.getchannel("A")
            low, high = alpha.getextrema()
            if low != high:
                return alpha.point(_ALPHA)
            image = image.convert("RGB")
        return image if image.mode == "L" else _to_rgb(image, field).convert("L")


@contextmanager
def _complaints(field: str) -> Iterator[None]:
    try:
        yield
    except PILLOW_ERRORS as error:
        raise wrong(field, "The picture file is damaged or cut off; save it again and send it whole.") from error


def _upright(data: bytes, field: str, max_pixels: int) -> Image.Image:
    image = _opened(data, field, max_pixels)
    if apart.needed(image):
        loaded = apart.load(data, str(image.format))
    else:
        image.load()
        loaded = image
    turn = _TURNS.get(_orientation(image))
    return loaded.transpose(turn) if turn is not None else loaded


def _opened(data: bytes, field: str, max_pixels: int) -> Image.Image:
    """The file with only its header read, refused if that announces too many pixels."""
    if not data:
        raise wrong(field, "The file is empty (0 bytes); send a picture.")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise wrong(field, f"It is not a picture that can be read; send {_KNOWN}.") from error
    except Image.DecompressionBombError as error:
        raise wrong(
            field, f"The picture has more than the {max_pixels} pixels that are taken; make it smaller."
        ) from error
    width, height = image.size
    if width * height > max_pixels:
        message = (
            f"The picture has {width}x{height} pixels, more than the {max_pixels} that are taken; make it smaller."
        )
        raise wrong(field, message)
    return image


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1 to 8; damaged EXIF data is no reason to refuse a picture, so it counts as upright."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except PILLOW_ERRORS:
        return 1
    return value if isinstance(value, int) else 1


def _to_rgb(image: Image.Image, field: str) -> Image.Image:
    if image.mode in ("F", "LAB") or (image.mode == "I" and not _fits_16_bits(image)):
        raise wrong(
            field, f"The picture's pixels are of a kind that cannot be shown ({image.mode}); save it with 8 bits."
        )
    if image.mode in _DEEP_GRAY:
        return _eight_bits(image).convert("RGB")
    if image.mode == "CMYK":
        return _from_cmyk(image)
    if image.mode in _WITH_ALPHA or image.has_transparency_data:
        return _on_white(image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    # Not Image.alpha_composite: it holds the GIL, 150 ms for 12 megapixels.
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas


def _fits_16_bits(image: Image.Image) -> bool:
    low, high = image.getextrema()
    return isinstance(low, int) and isinstance(high, int) and low >= 0 and high <= 0xFFFF


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit gray, 0 to 65535, divided by 257 and rounded; Pillow's own conversion cuts everything over 255 off."""
    values = np.asarray(image).astype(np.uint32)
    gray = (values + 128) // 257
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        gray[values == transparent] = 255
    return Image.fromarray(gray.astype(np.uint8))


def _from_cmyk(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile:
        try:
            converted = ImageCms.profileToProfile(
                image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            converted = None  # a broken profile: the plain conversion is closer than refusing
        if converted is not None:
            return converted
    return image.convert("RGB")
