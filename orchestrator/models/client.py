"""Asks Civitai, or a mirror of it, over HTTP: facts of versions, and the bytes of files from any offset.

Redirects are followed by hand, so that each hop is checked against the allow-list and the key goes to the API's own
origin only. The User-Agent names no browser: to browsers Civitai sends a login page where programs get a refusal.
Must not know where the bytes are kept.
"""

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from orchestrator.errors import DownloadFailed, ModelError, ModelGated, ModelNotFound, ModelUnavailable
from orchestrator.models.civitai import Unreadable, Version, read_model_versions, read_version
from orchestrator.models.flight import SingleFlight
from orchestrator.models.memory import Memory, QuietTime
from orchestrator.models.origins import AllowedOrigins, shown
from orchestrator.models.refusal import PASSING, refusal

log = logging.getLogger(__name__)

USER_AGENT = "comfy-orchestrator/0.1"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_LONGEST_ANSWER = 8_000_000
_FACTS_SECONDS = 300.0
"""As long as Civitai's own edge keeps an answer."""
_SIGNED_SECONDS = 600.0
"""How long a signed URL is used again; the shorter-lived of Civitai's two kinds lasts an hour."""
_READ_BUFFER = 1 << 20
_RANGE = re.compile(r"bytes (?:(\d{1,15})-(\d{1,15})|\*)/(\d{1,15}|\*)")
_LISTED = 12
_LONGEST_QUIET = 3600.0


@dataclass(frozen=True)
class Patience:
    """How long to wait for Civitai, in seconds, and how often to try again when it fails for the moment."""

    tries: int = 4
    first_wait: float = 1.0
    longest_wait: float = 30.0
    connect: float = 15.0
    stall: float = 60.0
    """Without one byte."""
    answer: float = 60.0
    """For a whole answer that is short: facts, or a file's beginning."""

    def wait(self, attempt: int) -> float:
        """Before the try after the `attempt`th (from 0)."""
        return float(min(self.longest_wait, self.first_wait * 2**attempt))


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


class CivitaiClient:
    """One HTTP session with Civitai, from `async with` to its end. `key` is sent to `base`'s origin alone."""

    def __init__(self, base: str, hosts: Sequence[str], *, key: str = "", patience: Patience | None = None) -> None:
        self._base = URL(base)
        self._allowed = AllowedOrigins(hosts)
        self._key = key
        self.patience = patience or Patience()
        self._quiet = QuietTime()
        self._facts: Memory[int, Version] = Memory(_FACTS_SECONDS)
        self._asking: SingleFlight[int, Version] = SingleFlight()
        self._signed: dict[tuple[int, int], tuple[URL, float]] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self.patience.connect, sock_read=self.patience.stall
            ),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=_READ_BUFFER,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def quiet_seconds(self) -> float:
        """How long Civitai has asked us to wait."""
        return self._quiet.left

    async def version(self, version_id: int) -> Version:
        """The facts of a version, at most five minutes old. Raises a ModelError with what to do about it."""
        if (known := self._facts.recall(version_id)) is not None:
            return known
        return await self._asking.run(version_id, lambda: self._ask_version(version_id))

    async def _ask_version(self, version_id: int) -> Version:
        what = f"Version {version_id}"
        try:
            content = await self._get_json(f"api/v1/model-versions/{version_id}", what)
        except ModelNotFound as error:
            told = ModelNotFound(await self._told_from_model(version_id, error.detail))
            self._facts.keep_refusal(version_id, told)
            raise told from error
        except ModelError as error:
            self._facts.keep_refusal(version_id, error)
            raise
        try:
            version = read_version(content)
        except Unreadable as error:
            raise ModelUnavailable(f"Civitai's answer for {what} cannot be read: {error}") from error
        self._facts.keep(version_id, version)
        return version

    async def _told_from_model(self, number: int, detail: str) -> str:
        """A better text for an unknown version: people paste the number from a model's page, which is another one."""
        try:
            model = read_model_versions(await self._get_json(f"api/v1/models/{number}", f"Model {number}", tries=1))
        except (ModelError, Unreadable):
            return detail
        listed = ", ".join(f"{version_id} ({name})" for version_id, name in model.versions[:_LISTED])
        more = f" and {len(model.versions) - _LISTED} more" if len(model.versions) > _LISTED else ""
        return (
            f"Civitai knows no version {number}. It is the number of the model {model.name!r}; "
            f"give one of its versions: {listed or 'none is published'}{more}"
        )

    async def _get_json(self, path: str, what: str, tries: int | None = None) -> object:
        url, attempts = self._base / path, tries or self.patience.tries
        for attempt in range(attempts):
            try:
                self._quiet.require_over()
                async with self.one_try(), self._get(url, {"Accept": "application/json"}) as response:
                    body = await _content(response)
                    if response.status == 200:
                        if isinstance(body, Mapping):
                            return body
                        raise ModelUnavailable(f"Civitai's answer for {what} is not JSON; is civitai_url right?")
                    raise self._refused(response, body, what)
            except ModelUnavailable:
                if attempt + 1 == attempts or self.quiet_seconds > self.patience.longest_wait:
                    raise
                await asyncio.sleep(max(self.patience.wait(attempt), self.quiet_seconds))
        raise AssertionError("there is at least one try")

    @asynccontextmanager
    async def one_try(self) -> AsyncGenerator[None, None]:
        """Ends the block after `patience.answer` seconds with ModelUnavailable: a host that drips never stalls."""
        try:
            async with asyncio.timeout(self.patience.answer):
                yield
        except TimeoutError as error:
            raise ModelUnavailable(f"Civitai's answer did not come within {self.patience.answer:g} s") from error

    @asynccontextmanager
    async def open_file(
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
        url = self._fresh_signed(key) or (self._base / f"api/download/models/{version_id}" % {"fileId": str(file_id)})
        for _ in range(_MOST_REDIRECTS + 1):
            async with self._get(url, headers) as response:
                if response.status not in _REDIRECTS:
                    if url.origin() != self._base.origin():
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
            permitted, place = bool(location) and self._allowed.permits(target), shown(target)
        except ValueError as error:
            raise DownloadFailed(f"{what}: Civitai redirects to something that is no URL") from error
        if target.path.startswith("/login"):
            raise refusal(401, {}, what, bool(self._key), 0)
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
                f"because it wants a login; " + refusal(401, {}, "it", bool(self._key), 0).detail
            )
        pieces = response.content.iter_any()
        if status == 200:
            return Arrival(0, response.content_length, etag, pieces)
        if told is None or told[1] is None or int(told[1]) != start:
            raise ModelUnavailable(f"{what}: the delivery host sends another range than asked for")
        return Arrival(start, total, etag, pieces)

    async def _file_refused(self, response: aiohttp.ClientResponse, key: tuple[int, int], what: str) -> Exception:
        if response.url.origin() == self._base.origin():
            return self._refused(response, await _content(response), what)
        self._signed.pop(key, None)
        if response.status in PASSING:
            return ModelUnavailable(f"{what}: the delivery host answers {response.status}")
        return Expired(f"{what}: the delivery host answers {response.status}")

    def _refused(self, response: aiohttp.ClientResponse, body: object, what: str) -> ModelError:
        seconds = _retry_after(response)
        if response.status in (429, 503) and seconds is not None:
            self._quiet.keep(seconds)
        said = body if isinstance(body, Mapping) else {}
        wait = self.patience.longest_wait if seconds is None else seconds
        return refusal(response.status, said, what, bool(self._key), wait)

    @asynccontextmanager
    async def _get(self, url: URL, headers: Mapping[str, str]) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        assert self._session is not None, "CivitaiClient is used outside its `async with`"
        if not self._allowed.permits(url):
            raise DownloadFailed(f"{shown(url)} is not at a host that civitai_hosts lists")
        own = {"Authorization": f"Bearer {self._key}"} if self._key and url.origin() == self._base.origin() else {}
        try:
            async with self._session.get(url, headers={**headers, **own}, allow_redirects=False) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.info("%s: %s", shown(url), type(error).__name__)
            raise ModelUnavailable(f"{url.host} cannot be reached or broke off ({type(error).__name__})") from error


async def _content(response: aiohttp.ClientResponse) -> object:
    """The decoded JSON of an answer, None for anything else."""
    text = bytearray()
    async for piece in response.content.iter_any():
        text += piece
        if len(text) > _LONGEST_ANSWER:
            return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


async def _nothing() -> AsyncGenerator[bytes, None]:
    return
    yield b""


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Seconds, at most an hour. The form with a date is not used by Civitai and counts as not said."""
    text = response.headers.get("Retry-After", "").strip()
    return min(float(text[:9]), _LONGEST_QUIET) if text.isascii() and text.isdecimal() else None
