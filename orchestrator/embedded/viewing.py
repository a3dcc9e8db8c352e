"""Pictures as the editor shows and edits them: small previews, one channel, a mask painted in. Pillow only.

A picture file goes in, the bytes of another come out; who asks, and where files are, is not known here.
"""

import io
from pathlib import Path
from typing import IO

from PIL import Image
from PIL.PngImagePlugin import PngInfo


def preview(file: Path, wish: str, *, opaque: bool) -> tuple[bytes, str]:
    """The picture as `wish` says, such as `webp;90` or `jpeg`, and its content type; `opaque` drops the alpha channel.

    An unknown format is WebP, and so is a JPEG that would lose its alpha channel; quality is 1 to 100, or 90.
    """
    kind, *rest = wish.split(";")
    quality = int(rest[-1]) if rest and rest[-1].isdecimal() else 90
    with Image.open(file) as picture:
        has_alpha = picture.has_transparency_data and not opaque
        format_ = "jpeg" if kind == "jpeg" and not has_alpha else "webp"
        shown = picture.convert("RGBA" if has_alpha else "RGB")
    buffer = io.BytesIO()
    shown.save(buffer, format_, quality=min(100, max(1, quality)))
    return buffer.getvalue(), f"image/{format_}"


def colours(file: Path) -> bytes:
    """A PNG without the alpha channel. Colours under a see-through pixel are kept: they are what a mask uncovers."""
    with Image.open(file) as picture:
        seen = picture.convert("RGBA") if picture.has_transparency_data else picture.convert("RGB")
    return _png(Image.merge("RGB", seen.split()[:3]), PngInfo())


def opacity(file: Path) -> bytes:
    """A PNG of the alpha channel alone, over black; all opaque for a picture that has none."""
    with Image.open(file) as picture:
        alpha = picture.convert("RGBA").getchannel("A")
    shown = Image.new("RGBA", alpha.size)
    shown.putalpha(alpha)
    return _png(shown, PngInfo())


def with_opacity(file: Path, mask: IO[bytes]) -> bytes:
    """A PNG of the picture with the alpha channel of `mask`, a picture of the same size, and the file's own texts.

    Raises ValueError if the sizes differ, UnidentifiedImageError for what is no picture.
    """
    texts = PngInfo()
    with Image.open(file) as picture, Image.open(mask) as painted:
        for name, text in getattr(picture, "text", {}).items():
            texts.add_text(name, text)
        result = picture.convert("RGBA")
        result.putalpha(painted.convert("RGBA").getchannel("A"))
    return _png(result, texts)


def _png(picture: Image.Image, texts: PngInfo) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=texts, compress_level=4)
    return buffer.getvalue()
