"""The header of a safetensors file: tensor names and shapes, without reading the tensors. Pure.

Format: eight bytes, little-endian, give the length of a JSON object {name: {dtype, shape, data_offsets}} that follows
(github.com/huggingface/safetensors).
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass

LENGTH_BYTES = 8
HEADER_LIMIT = 100_000_000
"""What the format itself allows, in bytes."""


class NotSafetensors(ValueError):
    """The bytes are not a safetensors header; the message says why."""


@dataclass(frozen=True)
class Header:
    """Tensor name to shape, and the free metadata that its author wrote."""

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]


def header_length(start: bytes) -> int:
    """The length in bytes of the JSON that follows the first eight bytes. Raises NotSafetensors."""
    if len(start) < LENGTH_BYTES:
        raise NotSafetensors("it is shorter than eight bytes")
    (length,) = struct.unpack("<Q", start[:LENGTH_BYTES])
    if not 2 <= length <= HEADER_LIMIT:
        raise NotSafetensors(f"its header would be {length} bytes long")
    return int(length)


def parse_header(text: bytes) -> Header:
    """The header from its JSON. Raises NotSafetensors."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotSafetensors("its header is not JSON") from error
    if not isinstance(content, dict):
        raise NotSafetensors("its header is not a JSON object")
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise NotSafetensors("its metadata is not a JSON object")
    shapes = {name: _shape(name, entry) for name, entry in content.items()}
    return Header(shapes, {str(key): str(value) for key, value in metadata.items()})


def _shape(name: str, entry: object) -> tuple[int, ...]:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in shape):
        raise NotSafetensors(f"tensor {name[:80]!r} has no shape")
    return tuple(shape)
