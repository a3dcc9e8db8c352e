"""The header of a safetensors file: tensor names and shapes, without reading the tensors. Pure.

Format: eight bytes, little-endian, give the length of a JSON object {name: {dtype, shape, data_offsets}} that follows
(github.com/huggingface/safetensors).
"""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

LENGTH_BYTES = 8
HEADER_LIMIT = 100_000_000
"""What the format itself allows, in bytes."""
FETCHED_LIMIT = 4 << 20
"""What a fetched file's may have, in bytes: a UNet's has 100 to 400 KB, and a parse holds up everything else."""
_LONGEST_NAME = 500
_MOST_DIMENSIONS = 8

_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
_LARGEST = 2**63
_FOREIGN_STARTS = {
    b"PK": "a zip archive, as a pickled PyTorch file is",
    b"\x80": "a pickle",
    b"<": "a web page",
    b"{": "JSON",
    b"GGUF": "a GGUF file",
    b"\x1f\x8b": "a gzip archive",
}


class NotSafetensors(ValueError):
    """The bytes are not a safetensors header; the message says why."""


@dataclass(frozen=True)
class Header:
    """Tensor name to shape, and the free metadata that its author wrote."""

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]


def header_length(start: bytes, limit: int = HEADER_LIMIT) -> int:
    """The length in bytes, at most `limit`, of the JSON that follows the first eight bytes. Raises NotSafetensors."""
    if len(start) < LENGTH_BYTES:
        raise NotSafetensors("it is shorter than eight bytes")
    (length,) = struct.unpack("<Q", start[:LENGTH_BYTES])
    if not 2 <= length <= limit:
        if foreign := next((what for mark, what in _FOREIGN_STARTS.items() if start.startswith(mark)), None):
            raise NotSafetensors(f"it is {foreign}")
        raise NotSafetensors(f"its header would be {length} bytes long")
    return int(length)


def parse_header(text: bytes) -> Header:
    """The header from its JSON. Raises NotSafetensors."""
    return _header(_decoded(text))


def parse_whole(text: bytes) -> tuple[Header, int]:
    """The header and `data_length` in one go. Raises NotSafetensors."""
    content = _decoded(text)
    return _header(content), _data_length(content)


def _header(content: Mapping[str, object]) -> Header:
    metadata = content.get("__metadata__", {})
    if not isinstance(metadata, dict):
        raise NotSafetensors("its metadata is not a JSON object")
    shapes = {name: _shape(name, entry) for name, entry in content.items() if name != "__metadata__"}
    return Header(shapes, {str(key): str(value) for key, value in metadata.items()})


def _shape(name: str, entry: object) -> tuple[int, ...]:
    if len(name) > _LONGEST_NAME:
        raise NotSafetensors(f"the name of tensor {name[:80]!r}… is longer than {_LONGEST_NAME} characters")
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if isinstance(shape, list) and len(shape) > _MOST_DIMENSIONS:
        raise NotSafetensors(f"tensor {name[:80]!r} has more than {_MOST_DIMENSIONS} dimensions")
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < _LARGEST for n in shape):
        raise NotSafetensors(f"tensor {name[:80]!r} has no shape")
    return tuple(shape)


def data_length(text: bytes) -> int:
    """How many bytes of tensors follow the header: they lie end to end from 0, each as long as its type and shape say.

    Raises NotSafetensors where the header describes a file that cannot be.
    """
    return _data_length(_decoded(text))


def _data_length(content: Mapping[str, object]) -> int:
    tensors = ((name, entry) for name, entry in content.items() if name != "__metadata__")
    spans = sorted((*_span(name, entry), name) for name, entry in tensors)
    end = 0
    for start, stop, name in spans:
        if start != end:
            raise NotSafetensors(f"tensor {name[:80]!r} does not follow on the one before it")
        end = stop
    return end


def _span(name: str, entry: object) -> tuple[int, int]:
    shape, about = _shape(name, entry), entry if isinstance(entry, dict) else {}
    offsets, dtype = about.get("data_offsets"), about.get("dtype")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(o) is int and o >= 0 for o in offsets):
        raise NotSafetensors(f"tensor {name[:80]!r} has no place in the file")
    bits = _BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        raise NotSafetensors(f"tensor {name[:80]!r} is of a type that safetensors does not have")
    size = math.prod(shape) * bits
    if size % 8 or size > _LARGEST or offsets[1] - offsets[0] != size // 8:
        raise NotSafetensors(f"tensor {name[:80]!r} is not as long as its shape says")
    return offsets[0], offsets[1]


def _decoded(text: bytes) -> dict[str, object]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotSafetensors("its header is not JSON") from error
    if not isinstance(content, dict):
        raise NotSafetensors("its header is not a JSON object")
    return content
