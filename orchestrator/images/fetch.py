"""Downloads the picture behind a URL that a caller gave: bounded, timed, and only from public addresses.

Must not know what the bytes are: whether they are a picture is for `decode` to say.
"""

import asyncio
import io
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from orchestrator.images.guard import AddressGuard, AddressRefused
from orchestrator.images.picture import wrong

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LONGEST_URL = 8192
_PIECE = 1 << 16


class Fetcher:
    """One HTTP session for all downloads, from `async with` to its end.

    `timeout` (seconds) covers a whole download with its redirects; `max_bytes` is checked on what arrives, whatever the
    server announced. `name_servers` ("address" or "address:port") stand in for the system's. No proxy of the
    environment, no cookies, no connection kept between two callers' downloads.
    """

    def __init__(
        self,
        guard: AddressGuard,
        *,
        max_bytes: int,
        timeout: float,
        max_redirects: int,
        user_agent: str,
        name_servers: Sequence[str] | None = None,
    ) -> None:
        self._guard = guard
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._max_redirects = max_redirects
        # Not compressed: a compressed body could be a bomb, and pictures gain nothing by it.
        self._headers = {"User-Agent": user_agent, "Accept": "image/*", "Accept-Encoding": "identity"}
        self._name_servers = name_servers
        self._session: aiohttp.ClientSession | None = None
        self._resolver: aiohttp.AsyncResolver | None = None

    async def __aenter__(self) -> Self:
        # Without threads: getaddrinfo would hold one of a few for as long as a dead name server likes.
        self._resolver = aiohttp.AsyncResolver(nameservers=self._name_servers, timeout=self._timeout)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=64,
                force_close=True,
                use_dns_cache=False,
                resolver=self._resolver,
                socket_factory=self._guard.socket_for,
            ),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            trust_env=False,
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        resolver, self._resolver = self._resolver, None
        if session is not None:
            await session.close()
        if resolver is not None:
            await resolver.close()

    async def fetch(self, text: str, field: str) -> bytes:
        """The body behind the URL `text`; InvalidParameters naming `field` for everything that can be wrong with it."""
        url = _checked(text.strip(), field)
        try:
            async with asyncio.timeout(self._timeout):
                return await self._follow(url, field)
        except TimeoutError as error:
            message = (
                f"The URL did not deliver within {self._timeout:g} s; use a faster host or send the picture itself."
            )
            raise wrong(field, message) from error
        except aiohttp.ClientConnectorError as error:
            raise wrong(field, _connect_failure(error)) from error
        except (aiohttp.InvalidURL, UnicodeError) as error:
            raise wrong(field, "The URL's host name is not written as one; check its spelling.") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            message = f"The download failed ({type(error).__name__}); check the URL or send the picture itself."
            raise wrong(field, message) from error

    async def _follow(self, url: URL, field: str) -> bytes:
        assert self._session is not None, "Fetcher is used outside its `async with`"
        for _ in range(self._max_redirects + 1):
            # By hand, so that each hop is checked like the first; the guard sees its address in any case.
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status not in _REDIRECTS:
                    return await self._body(response, field)
                location = response.headers.get("Location")
            if not location:
                raise wrong(field, "The URL redirects to nowhere; give the picture's own URL.")
            url = _checked(location, field, relative_to=url)
        message = f"The URL redirects more than {self._max_redirects} times; give the picture's own URL."
        raise wrong(field, message)

    async def _body(self, response: aiohttp.ClientResponse, field: str) -> bytes:
        if response.status != 200:
            raise wrong(field, f"The URL answered {response.status}; it must answer 200 with a picture.")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise wrong(field, "The URL's server compresses its answer unasked; send the picture itself.")
        if (response.content_length or 0) > self._max_bytes:
            raise wrong(field, self._too_large())
        body = io.BytesIO()
        async for piece in response.content.iter_chunked(_PIECE):
            body.write(piece)
            if body.tell() > self._max_bytes:
                raise wrong(field, self._too_large())
        return body.getvalue()  # BytesIO hands its buffer over; joining pieces would copy it all while holding the GIL

    def _too_large(self) -> str:
        return f"The URL delivers more than the {self._max_bytes} bytes that are taken; use a smaller picture."


def _checked(text: str, field: str, *, relative_to: URL | None = None) -> URL:
    if len(text) > _LONGEST_URL:
        raise wrong(field, f"The URL is longer than {_LONGEST_URL} characters; use a shorter one.")
    try:
        url = URL(text) if relative_to is None else relative_to.join(URL(text))
        host, port = url.host, url.port
    except ValueError as error:
        raise wrong(field, "The URL cannot be parsed; check how it is written.") from error
    where = "The URL" if relative_to is None else "The URL's redirect"
    if url.scheme not in ("http", "https"):
        raise wrong(field, f"{where} has the scheme {url.scheme[:20]!r}; only http and https are fetched.")
    if not host or not port:
        raise wrong(field, f"{where} names no host; write it in full.")
    if url.user is not None or url.password is not None:
        raise wrong(field, f"{where} carries a user name or password; use a URL that works without.")
    return url


def _connect_failure(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientSSLError):
        return "The URL's host shows no valid certificate; use another host or send the picture itself."
    if isinstance(error.os_error, AddressRefused):
        return "The URL leads to an address or port that this service does not connect to; use a public URL."
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "The URL's host name cannot be resolved; check its spelling."
    return "The URL's host cannot be connected to; check that it is up."
