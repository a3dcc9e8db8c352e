"""What a fake ComfyUI has in stock: a catalogue, a picture, and a reader of upload forms."""

import io
import re
from functools import cache
from typing import Any

from PIL import Image

from orchestrator.comfy.known import core_object_info, pack_object_info
from tests.fakes.engine import Json


@cache
def known_object_info() -> Json:
    """ComfyUI 0.3.64's catalogue and our node pack's."""
    core: Any = core_object_info()
    pack: Any = pack_object_info()
    return core | pack


def plain_png(width: int = 64, height: int = 64) -> bytes:
    """A grey picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (128, 128, 128)).save(buffer, "PNG")
    return buffer.getvalue()


def form_fields(content_type: str, body: bytes) -> dict[str, tuple[str, bytes]]:
    """Field name → file name and content. By hand: aiohttp's reader takes milliseconds, which would be measured."""
    boundary = b"--" + content_type.partition("boundary=")[2].encode()
    fields = {}
    for part in body.split(boundary)[1:-1]:
        head, _, content = part.removesuffix(b"\r\n").partition(b"\r\n\r\n")
        named = dict(re.findall(r'(\bname|filename)="([^"]*)"', head.decode()))
        fields[named["name"]] = (named.get("filename", ""), content)
    return fields
