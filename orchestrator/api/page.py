"""`/`: the page for people, and its files. Must not know what they do in the browser.

The files are read once, at the start. Scripts and styles lie below a folder whose name is the hash of them all, so
that browsers may keep them for good; the page itself is asked for again each time, and answered with 304.
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import PurePath

from aiohttp import web

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types"
)
"""Nothing but the page's own files runs, and no text becomes HTML or script whatever a widget or a job says."""
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}
_FOR_GOOD = "public, max-age=31536000, immutable"
_INDEX = "index.html"
_FOLDER_WORD = "FILES"
"""What index.html writes in place of the folder's name."""


@dataclass(frozen=True)
class StaticFile:
    """One file as it is sent: plain and compressed."""

    content_type: str
    plain: bytes
    packed: bytes
    mark: str
    """Of the content, for ETag."""

    @classmethod
    def of(cls, name: str, content: bytes) -> "StaticFile":
        """The file `name` with that content."""
        mark = hashlib.sha256(content).hexdigest()[:16]
        return cls(_TYPES[PurePath(name).suffix], content, gzip.compress(content, mtime=0), mark)


@dataclass(frozen=True)
class Page:
    """The page's files; `folder` is the hash in the address of all but `index`."""

    index: StaticFile
    folder: str
    files: dict[str, StaticFile]


@cache
def load_page() -> Page:
    """Reads the package's files; once a process, since they never change while it runs."""
    found = resources.files("orchestrator.page").iterdir()
    contents = {item.name: item.read_bytes() for item in found if PurePath(item.name).suffix in _TYPES}
    index = contents.pop(_INDEX)
    digest = hashlib.sha256()
    for name in sorted(contents):
        digest.update(name.encode() + b"\0" + hashlib.sha256(contents[name]).digest())
    folder = digest.hexdigest()[:16]
    index = index.replace(_FOLDER_WORD.encode(), folder.encode())
    return Page(StaticFile.of(_INDEX, index), folder, {name: StaticFile.of(name, it) for name, it in contents.items()})


async def get_page(request: web.Request) -> web.Response:
    """GET /: the page"""
    return _answer(request, load_page().index, "no-cache")


async def get_file(request: web.Request) -> web.Response:
    """GET /page/{folder}/{name}: a script, a style or a picture of the page"""
    page = load_page()
    file = page.files.get(request.match_info["name"])
    if file is None or request.match_info["folder"] != page.folder:
        raise web.HTTPNotFound(text="The page has no such file; load it anew")
    return _answer(request, file, _FOR_GOOD)


def _answer(request: web.Request, file: StaticFile, caching: str) -> web.Response:
    packs = "gzip" in request.headers.get("Accept-Encoding", "")
    headers = _HEADERS | {"Cache-Control": caching, "ETag": f'"{file.mark}{"-gzip" if packs else ""}"'}
    if headers["ETag"] in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = file.content_type
    if packs:
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=file.packed if packs else file.plain, headers=headers)
