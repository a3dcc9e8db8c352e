"""A caller's values as the form that is posted: files as files, everything else as its text."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from aiohttp import FormData

from orchestrator.errors import FieldError, InvalidParameters

Value = str | int | float | bool | bytes | os.PathLike[str] | None
"""Text goes as it is (a picture's URL, data URL or base64 too), a path as the file's content, None not at all."""
Values = Mapping[str, Value]

Parts = Mapping[str, str | tuple[str, bytes]]
"""Texts, and files with their names: what can be sent again as often as it takes."""


async def read_parts(values: Values) -> Parts:
    """Reads the files. Raises InvalidParameters naming each parameter whose file cannot be read."""
    return await asyncio.to_thread(_read_parts, values)


def form_of(parts: Parts) -> FormData:
    """A fresh form: aiohttp's can be sent once."""
    form = FormData(default_to_multipart=True)
    for name, part in parts.items():
        if isinstance(part, str):
            form.add_field(name, part)
        else:
            form.add_field(name, part[1], filename=part[0])
    return form


def _read_parts(values: Values) -> Parts:
    parts: dict[str, str | tuple[str, bytes]] = {}
    complaints: list[FieldError] = []
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, os.PathLike):
            path = Path(value)
            try:
                parts[name] = (path.name, path.read_bytes())
            except OSError as error:
                complaints.append(FieldError(name, f"{path} cannot be read: {error.strerror or error}"))
        elif isinstance(value, bytes):
            parts[name] = (name, value)
        else:
            parts[name] = str(value).lower() if isinstance(value, bool) else str(value)
    if complaints:
        raise InvalidParameters("; ".join(f"{one.field}: {one.message}" for one in complaints), complaints)
    return parts
