"""One HTTP session with Civitai, or a mirror of it: each request at an allowed place, the key to the API's own alone.

The User-Agent names no browser: to browsers Civitai sends a login page where programs get a refusal. Must not know what
is asked for.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from orchestrator.errors import DownloadFailed, ModelError, ModelUnavailable
from orchestrator.models.memory import QuietTime
from orchestrator.models.origins import AllowedOrigins, shown
from orchestrator.models.refusal import refusal, refuses_key

log = logging.getLogger(__name__)

USER_AGENT = "comfy-orchestrator/0.1"
_LONGEST_ANSWER = 8_000_000
_READ_BUFFER = 1 << 20
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


class Connection:
    """To the API at `base` and the places that it sends to, `hosts` alone; from `async with` to its end.

    `quiet` is how long Civitai has asked us to wait.
    """

    def __init__(self, base: URL, hosts: Sequence[str], key: str, patience: Patience) -> None:
        self.base = base
        self.patience = patience
        self.quiet = QuietTime()
        self._allowed = AllowedOrigins(hosts)
        self._key = key
        self._warned = False
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

    def is_own(self, url: URL) -> bool:
        """Whether this is the API itself, and no place that it sends to."""
        return url.origin() == self.base.origin()

    def permits(self, url: URL) -> bool:
        """Whether this URL may be asked. Raises ValueError for one with a port or a host that cannot be."""
        return self._allowed.permits(url)

    @asynccontextmanager
    async def one_try(self) -> AsyncGenerator[None, None]:
        """Ends the block after `patience.answer` seconds with ModelUnavailable: a host that drips never stalls."""
        try:
            async with asyncio.timeout(self.patience.answer):
                yield
        except TimeoutError as error:
            raise ModelUnavailable(f"Civitai's answer did not come within {self.patience.answer:g} s") from error

    async def get_json(self, path: str, what: str, tries: int | None = None) -> Mapping[str, object]:
        """What the API says of `what`, tried again while what fails may pass. Raises a ModelError."""
        attempts = tries or self.patience.tries
        for attempt in range(attempts):
            try:
                self.quiet.require_over()
                async with self.one_try(), self.get(self.base / path, {"Accept": "application/json"}) as response:
                    if response.status != 200:
                        raise await self.refused(response, what)
                    body = await _content(response)
                    if not isinstance(body, Mapping):
                        raise ModelUnavailable(f"Civitai's answer for {what} is not JSON; is civitai_url right?")
                    return body
            except ModelUnavailable:
                if attempt + 1 == attempts or self.quiet.left > self.patience.longest_wait:
                    raise
                await asyncio.sleep(max(self.patience.wait(attempt), self.quiet.left))
        raise AssertionError("there is at least one try")

    @asynccontextmanager
    async def get(self, url: URL, headers: Mapping[str, str]) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """One request; a redirect is an answer like any other. Raises DownloadFailed for a place that is not allowed,
        ModelUnavailable when the answer does not come or breaks off inside the block."""
        assert self._session is not None, "the connection is used outside its `async with`"
        if not self.permits(url):
            raise DownloadFailed(f"{shown(url)} is not at a host that civitai_hosts lists")
        own = {"Authorization": f"Bearer {self._key}"} if self._key and self.is_own(url) else {}
        try:
            async with self._session.get(url, headers={**headers, **own}, allow_redirects=False) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.info("%s: %s", shown(url), type(error).__name__)
            raise ModelUnavailable(f"{url.host} cannot be reached or broke off ({type(error).__name__})") from error

    async def refused(self, response: aiohttp.ClientResponse, what: str) -> ModelError:
        """The error for an answer of the API that is not a success; the quiet that it asks for is kept from now on."""
        body, seconds = await _content(response), _retry_after(response)
        if response.status in (429, 503) and seconds is not None:
            self.quiet.keep(seconds)
        said = body if isinstance(body, Mapping) else {}
        wait = self.patience.longest_wait if seconds is None else seconds
        self._warn_of_key(response.status, said)
        return refusal(response.status, said, what, bool(self._key), wait)

    def sent_to_login(self, what: str) -> ModelError:
        """The error where Civitai sends to its login, key or no key."""
        self._warn_of_key(401, {})
        return self.login_needed(what)

    def login_needed(self, what: str) -> ModelError:
        """The error for what Civitai gives to nobody without a key, or not with this one."""
        return refusal(401, {}, what, bool(self._key), 0)

    def _warn_of_key(self, status: int, said: Mapping[str, object]) -> None:
        """Once, for each caller is told why each of them gets no model, and the operator alone can mend it."""
        if self._key and not self._warned and refuses_key(status, said):
            self._warned = True
            log.warning(
                "Civitai does not take the key that is set as civitai_key; what needs a login cannot be fetched"
            )


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


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Seconds, at most an hour. The form with a date is not used by Civitai and counts as not said."""
    text = response.headers.get("Retry-After", "").strip()
    return min(float(text[:9]), _LONGEST_QUIET) if text.isascii() and text.isdecimal() else None
