"""Files that clients send: read from the form, written whole below the input or temporary folder."""

import asyncio
from pathlib import Path
from uuid import uuid4

from aiohttp import web

from orchestrator.embedded.folders import Folders, within


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


async def receive(request: web.Request, folders: Folders) -> dict[str, str]:
    """Stores the picture of a form and gives the name under which nodes find it.

    Raises NotAnUpload without a file, KeyError for an unknown `type`, OutsideFolder for a name that leads elsewhere.
    """
    form = await request.post()
    image = form.get("image")
    if not isinstance(image, web.FileField) or not image.filename:
        raise NotAnUpload("the form needs a file called image")
    kind, subfolder = str(form.get("type") or "input"), str(form.get("subfolder") or "")
    target = within(folders.of(kind), subfolder, image.filename)
    overwrite = form.get("overwrite") in ("true", "1")
    data = await asyncio.to_thread(image.file.read)
    name = await asyncio.to_thread(_store, target.parent, target.name, data, overwrite)
    return {"name": name, "subfolder": subfolder, "type": kind}
