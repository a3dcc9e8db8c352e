"""Posts to an address that a caller named: only to public ones, in bounded time, without a look at what comes back.

Must not know what is posted.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from orchestrator.errors import FieldError, InvalidParameters
from orchestrator.images.guard import AddressGuard, AddressRefused

_LONGEST = 2048
_FORBIDDEN = "leads to an address or port that this service does not connect to"


@dataclass(frozen=True)
class Answer:
    """What came of one try."""

    status: int | None
    """HTTP status; None when none came."""
    text: str
    """In words, without the address: that may hold a secret of the caller's."""
    forbidden: bool = False
    """Whether the address is one that is never posted to."""

    @property
    def took_it(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether there is no use in another try: the receiver wants none, or may not be posted to."""
        return self.status == 410 or self.forbidden


def checked(text: str, field: str, guard: AddressGuard) -> str:
    """An address to post to. Raises InvalidParameters naming the field, also where it is one that `guard` refuses."""
    try:
        url = URL(text.strip())
        host, port = url.raw_host, url.port
    except ValueError as error:
        raise _wrong(field, "cannot be parsed; check how it is written") from error
    if len(text) > _LONGEST:
        raise _wrong(field, f"is longer than {_LONGEST} characters")
    if url.scheme not in ("http", "https") or not host or not port:
        raise _wrong(field, "must be a whole http or https URL")
    if url.user is not None or url.password is not None:
        raise _wrong(field, "carries a user name or password; put a token into its path or query")
    if guard.refuses(host, port):
        raise _wrong(field, f"{_FORBIDDEN}; give a public one")
    return str(url.with_fragment(None))


class Sender:
    """One HTTP session for all posts, from `async with` to its end; `timeout` in seconds a post.

    `guard` is asked for the address of each connection, so no name and no redirect gets round it: redirects are not
    followed at all.
    """

    def __init__(self, guard: AddressGuard, *, timeout: float, user_agent: str) -> None:
        self._guard = guard
        self._timeout = timeout
        self._headers = {"User-Agent": user_agent, "Content-Type": "application/json"}
        self._session: aiohttp.ClientSession | None = None
        self._resolver: aiohttp.AsyncResolver | None = None

    async def __aenter__(self) -> Self:
        self._resolver = aiohttp.AsyncResolver(timeout=self._timeout)
        connector = aiohttp.TCPConnector(
            limit=64,
            force_close=True,
            use_dns_cache=False,
            resolver=self._resolver,
            socket_factory=self._guard.socket_for,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        resolver, self._resolver = self._resolver, None
        if resolver is not None:
            await resolver.close()  # a connector closes only what it has made itself

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One try. Never raises for what the other side does."""
        assert self._session is not None, "Sender is used outside its `async with`"
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._session.post(URL(url), data=body, headers=headers, allow_redirects=False) as answer,
            ):
                return Answer(answer.status, f"answered {answer.status}")
        except TimeoutError:
            return Answer(None, f"did not answer within {self._timeout:g} s")
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, AddressRefused):
                return Answer(None, _FORBIDDEN, forbidden=True)
            return Answer(None, _connect_failure(error))
        except ValueError:
            return Answer(None, "has an address that is not written as one")
        except aiohttp.ClientResponseError:
            return Answer(None, "answered what is not HTTP")
        except (aiohttp.ClientError, OSError):
            return Answer(None, "broke the connection off")


def _connect_failure(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientSSLError):
        return "shows no valid certificate"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "has a host name that cannot be resolved"
    return "cannot be connected to"


def _wrong(field: str, message: str) -> InvalidParameters:
    return InvalidParameters(None, [FieldError(field, message)])
