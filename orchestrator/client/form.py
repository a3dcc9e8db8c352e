"""A caller's values as the form that is posted: files as files, everything else as its text."""

import asyncio
import numbers
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeGuard

from aiohttp import FormData

from orchestrator.errors import FieldError, InvalidParameters

Value = str | int | float | bool | bytes | bytearray | os.PathLike[str] | IO[bytes] | None
"""Text and numbers go as their text (a picture's URL, data URL or base64 too), None not at all. A path goes as the
file's content, as do bytes and files opened in binary, these from their beginning where they can be wound back."""
Values = Mapping[str, Value]

Parts = Mapping[str, str | bytes]
"""Texts and files: what can be sent again as often as it takes."""


async def read_parts(values: Values) -> Parts:
    """Reads the files. Raises InvalidParameters naming each parameter whose file cannot be read, TypeError naming the
    first that is no `Value`."""
    return await asyncio.to_thread(_read_parts, values)


def form_of(parts: Parts) -> FormData:
    """A fresh form: aiohttp's can be sent once."""
    form = FormData(default_to_multipart=True, quote_fields=False)  # quoted, a name beyond ASCII cannot be sent
    for name, part in parts.items():
        # A file has some name, by which the service tells it from a text; its own is nobody's affair.
        form.add_field(name, part, filename=None if isinstance(part, str) else name)
    return form


def with_hints(complaints: Sequence[FieldError], values: Values) -> tuple[FieldError, ...]:
    """The same with a hint where a file's name was given as text: the service cannot know that there is such a file."""
    return tuple(
        FieldError(one.field, f"{one.message} (to send that file, give its name as a pathlib.Path)")
        if _is_files_name(values.get(one.field))
        else one
        for one in complaints
    )


def _read_parts(values: Values) -> Parts:
    parts: dict[str, str | bytes] = {}
    complaints: list[FieldError] = []
    for name, value in values.items():
        if value is None:
            continue
        try:
            parts[name] = _part(name, value)
        except (OSError, ValueError) as error:  # ValueError for a file that is closed
            reason = getattr(error, "strerror", None) or error
            complaints.append(FieldError(name, f"{_shown(value)} cannot be read: {reason}"))
    if complaints:
        raise InvalidParameters("; ".join(f"{one.field}: {one.message}" for one in complaints), complaints)
    return parts


def _part(name: str, value: object) -> str | bytes:
    if getattr(value, "ndim", None) == 0 and callable(item := getattr(value, "item", None)):
        value = item()  # numpy's and torch's single values; numpy's bool is no number
    match value:
        case bool():
            return str(value).lower()
        case str():
            return value
        case numbers.Number():
            return str(value)
        case bytes() | bytearray():
            return bytes(value)
        case os.PathLike():
            return Path(value).read_bytes()
    if _is_file(value):
        return _content(name, value)
    raise TypeError(
        f"{name} is of type {type(value).__name__}, which cannot be sent: give text, a number, or a file as a "
        f"pathlib.Path, as bytes or opened in binary (a picture in memory is saved to a BytesIO first)"
    )


def _is_file(value: object) -> TypeGuard[IO[bytes]]:
    return callable(getattr(value, "read", None))


def _content(name: str, file: IO[bytes]) -> bytes:
    # A BytesIO stands at its end once a picture has been saved to it, a file that was sent before as well.
    seekable = getattr(file, "seekable", None)
    if seekable is not None and seekable():
        file.seek(0)
    content: object = file.read()
    if not isinstance(content, bytes):
        raise TypeError(f'{name} is a file of text: open it in binary, as open(…, "rb") does')
    return content


def _shown(value: object) -> str:
    return str(value) if isinstance(value, os.PathLike) else "the file"


def _is_files_name(value: object) -> bool:
    with suppress(OSError, ValueError):  # what is too long for a name, or has a NUL in it
        return isinstance(value, str) and Path(value).is_file()
    return False
