"""The bytes of Civitai's files, from any offset, wherever Civitai sends for them.

Redirects are followed by hand, so that each hop is checked against the allow-list. Must not know where the bytes are
kept.
"""

import re
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from orchestrator.errors import DownloadFailed, ModelGated, ModelUnavailable
from orchestrator.models.connection import Connection
from orchestrator.models.origins import shown
from orchestrator.models.refusal import PASSING

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_SIGNED_SECONDS = 600.0
"""How long a signed URL is used again; the shorter-lived of Civitai's two kinds lasts an hour."""
_RANGE = re.compile(r"bytes (?:(\d{1,15})-(\d{1,15})|\*)/(\d{1,15}|\*)")


class Expired(Exception):
    """A signed URL is no longer taken; a fresh one has to be asked for."""


@dataclass(frozen=True)
class Arrival:
    """A file on its way: bytes from `start` on, of `total` (None if not told), the same file while `etag` is the
    same."""

    start: int
    total: int | None
    etag: str
    pieces: AsyncIterator[bytes]


class Delivery:
    """Opens files over a connection; the signed URLs that it is sent to are used again while they last."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._signed: dict[tuple[int, int], tuple[URL, float]] = {}

    @asynccontextmanager
    async def open(
        self, version_id: int, file_id: int, *, start: int = 0, end: int | None = None, etag: str = ""
    ) -> AsyncGenerator[Arrival, None]:
        """The file's bytes from `start` to before `end`, if the server minds ranges and the file is still `etag`'s;
        else from 0, which the arrival tells.

        One try. Raises a ModelError for what is final, ModelUnavailable or Expired for what may pass.
        """
        headers = {}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        if start and etag and not etag.startswith("W/"):
            headers["If-Range"] = etag
        key, what = (version_id, file_id), f"File {file_id} of version {version_id}"
        own = self._connection.base / f"api/download/models/{version_id}" % {"fileId": str(file_id)}
        url = self._fresh_signed(key) or own
        for _ in range(_MOST_REDIRECTS + 1):
            async with self._connection.get(url, headers) as response:
                if response.status not in _REDIRECTS:
                    if not self._connection.is_own(url):
                        self._keep_signed(key, url)
                    yield await self._arrival(response, key, what, start)
                    return
                url = self._next(url, response.headers.get("Location", ""), what)
        raise DownloadFailed(f"{what}: Civitai redirects more than {_MOST_REDIRECTS} times")

    def _fresh_signed(self, key: tuple[int, int]) -> URL | None:
        url, since = self._signed.get(key, (None, 0.0))
        return url if time.monotonic() - since < _SIGNED_SECONDS else None

    def _keep_signed(self, key: tuple[int, int], url: URL) -> None:
        now = time.monotonic()
        self._signed = {other: kept for other, kept in self._signed.items() if now - kept[1] < _SIGNED_SECONDS}
        self._signed.setdefault(key, (url, now))

    def _next(self, url: URL, location: str, what: str) -> URL:
        try:
            # Encoded already: quoting it again would break its signature.
            target = URL(location, encoded=True)
            target = target if target.is_absolute() else url.join(target)
            # A port or a host that cannot be shows only when it is read.
            permitted, place = bool(location) and self._connection.permits(target), shown(target)
        except ValueError as error:
            raise DownloadFailed(f"{what}: Civitai redirects to something that is no URL") from error
        if target.path.startswith("/login"):
            raise self._connection.sent_to_login(what)
        if not permitted:
            raise DownloadFailed(f"{what}: Civitai sends the download to {place}, which civitai_hosts does not list")
        return target

    async def _arrival(self, response: aiohttp.ClientResponse, key: tuple[int, int], what: str, start: int) -> Arrival:
        status, etag = response.status, response.headers.get("ETag", "")
        told = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        total = int(told[3]) if told and told[3] != "*" else None
        if status == 416:
            # What we have may be all of it; if not, it is another file by now.
            complete = total is not None and total == start
            return Arrival(start, total, etag, _nothing()) if complete else Arrival(0, total, etag, _nothing())
        if status not in (200, 206):
            raise await self._file_refused(response, key, what)
        if response.content_type in ("text/html", "application/json", "application/xml", "text/plain"):
            raise ModelGated(
                f"{what}: Civitai answers with a page ({response.content_type}) in place of the file, most often "
                f"because it wants a login; " + self._connection.login_needed("it").detail
            )
        pieces = response.content.iter_any()
        if status == 200:
            return Arrival(0, response.content_length, etag, pieces)
        if told is None or told[1] is None or int(told[1]) != start:
            raise ModelUnavailable(f"{what}: the delivery host sends another range than asked for")
        return Arrival(start, total, etag, pieces)

    async def _file_refused(self, response: aiohttp.ClientResponse, key: tuple[int, int], what: str) -> Exception:
        if self._connection.is_own(response.url):
            return await self._connection.refused(response, what)
        self._signed.pop(key, None)
        if response.status in PASSING:
            return ModelUnavailable(f"{what}: the delivery host answers {response.status}")
        return Expired(f"{what}: the delivery host answers {response.status}")


async def _nothing() -> AsyncGenerator[bytes, None]:
    return
    yield b""
