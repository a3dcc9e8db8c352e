"""Files that clients send: read from the form, written whole below the input or temporary folder."""

import asyncio
import json
from pathlib import Path
from typing import IO
from uuid import uuid4

from aiohttp import web

from orchestrator.embedded.folders import Folders, within
from orchestrator.embedded.viewing import with_opacity


class NotAnUpload(ValueError):
    """The form has no file called `image`."""


def _free_name(place: Path, name: str, data: bytes) -> str:
    """`name`, or `name (1)` and so on when that file exists with other contents."""
    stem, ending = Path(name).stem, Path(name).suffix
    candidate, number = name, 0
    while (place / candidate).exists() and (place / candidate).read_bytes() != data:
        number += 1
        candidate = f"{stem} ({number}){ending}"
    return candidate


def _store(place: Path, name: str, data: bytes, overwrite: bool) -> str:
    place.mkdir(parents=True, exist_ok=True)
    chosen = name if overwrite else _free_name(place, name, data)
    part = place / f".{uuid4().hex}"
    part.write_bytes(data)
    part.replace(place / chosen)  # a reader sees the old file or the new one
    return chosen


def _original(reference: object, folders: Folders) -> Path:
    """The file that the editor painted on: {filename, subfolder, type} as JSON."""
    try:
        said = json.loads(str(reference))
        name, subfolder = said["filename"], said.get("subfolder") or ""
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise NotAnUpload("original_ref does not name a picture") from fault
    file = within(folders.of(said.get("type") or "output"), str(subfolder), str(name))
    if not file.is_file():
        raise NotAnUpload(f"there is no picture {name}")
    return file


def _masked(file: Path, mask: IO[bytes]) -> bytes:
    try:
        return with_opacity(file, mask)
    except (OSError, ValueError) as fault:  # Pillow's error for what is no picture is an OSError
        raise NotAnUpload(f"the mask cannot be used: {fault}") from fault


async def receive(request: web.Request, folders: Folders, *, mask: bool = False) -> dict[str, str]:
    """Stores the picture of a form and gives the name under which nodes find it.

    With `mask`, the picture stored is that of the form's `original_ref`, with the alpha channel of the one sent. Raises
    NotAnUpload without a file, KeyError for an unknown `type`, OutsideFolder for a name that leads elsewhere.
    """
    form = await request.post()
    image = form.get("image")
    if not isinstance(image, web.FileField) or not image.filename:
        raise NotAnUpload("the form needs a file called image")
    kind, subfolder = str(form.get("type") or "input"), str(form.get("subfolder") or "")
    target = within(folders.of(kind), subfolder, image.filename)
    overwrite = form.get("overwrite") in ("true", "1")
    if mask:
        data = await asyncio.to_thread(_masked, _original(form.get("original_ref"), folders), image.file)
    else:
        data = await asyncio.to_thread(image.file.read)
    name = await asyncio.to_thread(_store, target.parent, target.name, data, overwrite)
    return {"name": name, "subfolder": subfolder, "type": kind}
