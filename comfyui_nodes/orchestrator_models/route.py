"""The route on ComfyUI's own server, and what it lets through. See the pack's docstring."""

import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from .fetching import Fetching, Wanted

KINDS = ("checkpoints", "loras")
_SUFFIX = ".safetensors"
_LONGEST = 200
"""Bytes of one name, so that the part's longer one can be written too."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Refused(Exception):
    """The request is not one that this machine follows."""


class Fetches:
    """The files on their way, by target."""

    def __init__(self) -> None:
        self._running: dict[Path, Fetching] = {}

    def state(self, wanted: Wanted) -> tuple[int, dict[str, object]]:
        """Where a file stands, as status and body; begins to fetch it if nobody has."""
        running = self._running.get(wanted.target)
        if running is not None and running.is_running:
            if running.wanted.sha256 != wanted.sha256:
                return 409, {"state": "failed", "error": "another file of that name is on its way"}
        elif wanted.is_there():
            self._running.pop(wanted.target, None)
            return 200, {"state": "there"}
        elif running is not None and running.error is not None:
            del self._running[wanted.target]
            return 502, {"state": "failed", "error": running.error}
        else:
            running = self._running[wanted.target] = Fetching(wanted)
            running.start()
        return 202, {"state": "fetching", "received": running.received, "size": wanted.size}


def read_wanted(body: object, folder_of: Callable[[str], str]) -> Wanted:
    """The file that a request asks for; `folder_of(kind)` is where it goes. Raises Refused."""
    if not isinstance(body, dict):
        raise Refused("the body is not an object")
    kind, file, sha256, size, url = (body.get(key) for key in ("kind", "file", "sha256", "size", "url"))
    if kind not in KINDS or not isinstance(file, str) or not _is_placed(file):
        raise Refused("kind or file is not one that this pack places")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256) or type(size) is not int or size <= 0:
        raise Refused("sha256 or size is missing")
    allowed = os.environ.get("ORCHESTRATOR_URL", "")
    if not allowed.startswith(("http://", "https://")) or not isinstance(url, str) or _origin(url) != _origin(allowed):
        raise Refused("set ORCHESTRATOR_URL of this ComfyUI to the service's address, such as http://service:8080")
    return Wanted(Path(folder_of(kind)) / file, sha256, size, url)


def _is_placed(file: str) -> bool:
    """Whether it is a name below the kind's folder: any that an operator gives files, and no way out of it."""
    names = file.split("/")
    return (
        file.endswith(_SUFFIX)
        and all(
            name and not name.startswith(".") and len(name.encode("utf-8", "replace")) <= _LONGEST for name in names
        )
        and not any(c in "\\:" or unicodedata.category(c) in ("Cc", "Cs") for c in file)
    )


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def register() -> None:
    """Adds the route to the ComfyUI that runs, if one does."""
    try:
        from server import PromptServer

        routes = PromptServer.instance.routes
    except (ImportError, AttributeError):
        return
    import folder_paths
    from aiohttp import web

    fetches = Fetches()

    @routes.post("/orchestrator/models")  # type: ignore[untyped-decorator]
    async def place(request: web.Request) -> web.Response:
        try:
            wanted = read_wanted(await request.json(), lambda kind: folder_paths.get_folder_paths(kind)[0])
        except (Refused, ValueError) as error:
            return web.json_response({"state": "failed", "error": str(error)}, status=403)
        status, body = fetches.state(wanted)
        return web.json_response(body, status=status)
