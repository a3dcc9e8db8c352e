"""Requests to one service: sent until they are answered, the key to the service alone, its refusals raised as errors.

Knows nothing of what is asked for.
"""

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
from yarl import URL

from orchestrator.client.answers import read_error
from orchestrator.errors import JobUnfinished, OrchestratorError, ServiceStopping, ServiceUnreachable

BROKEN = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)
"""What a request raises that is cut off."""
FIRST_PAUSE = 0.25
"""Seconds before a request is sent again."""
_LONGEST_PAUSE = 8.0
_QUIET_SECONDS = 60.0
"""Without a byte a stream of events is taken for dead; the service sends something each 15 seconds."""
_AWAY = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
"""What a proxy answers while the service is being restarted."""


def pause_after(failures: int) -> float:
    """Seconds to wait after so many failures in a row, from 1."""
    return min(_LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (failures - 1))


def reason(error: Exception) -> str:
    """Why a request was cut off, for people: aiohttp's own words name sockets and settings."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "its name is not known"
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not to be trusted: {error.certificate_error}"
        case aiohttp.ClientSSLError():
            return f"no TLS connection can be made: {error.os_error}"
        case aiohttp.ClientOSError():  # without a number where several addresses were tried in vain
            return os.strerror(error.errno).lower() if error.errno else "no connection can be made"
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection"
        case TimeoutError():
            return "no answer came in time"
    return str(error) or type(error).__name__


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        """The body's JSON object. Raises ServiceUnreachable for anything else: it is no answer of the service."""
        try:
            told = json.loads(self.body)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise ServiceUnreachable(f"What answers there is not this service: {self.status}, {self.body[:80]!r}")
        return told

    @property
    def error(self) -> OrchestratorError:
        """The error that an answer of 400 or more tells of. Raises ServiceUnreachable as `told` does."""
        try:
            told = self.told
        except ServiceUnreachable:
            if self.status in _AWAY:
                return ServiceUnreachable(f"The service is away: {self.status}")
            raise
        wait = self.headers.get("Retry-After", "")
        error = read_error(told, float(wait) if wait.isdecimal() else None)
        unfinished = {kind("").code: kind for kind in (JobUnfinished, ServiceStopping)}.get(str(told.get("code")))
        if unfinished is not None:
            return unfinished(self.headers.get("X-Job-Id", ""))
        return error


class Connection:
    """To the service at `url`, from the first request to `close`. `timeout` is in seconds, `attempts` from 1."""

    def __init__(self, url: str, api_key: str | None, timeout: float, attempts: int) -> None:
        self.url = url.rstrip("/")
        self.attempts = attempts
        self._key = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Lets go of its sockets; it opens new ones if it is used again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def open(
        self, path: str, headers: Mapping[str, str]
    ) -> "aiohttp.client._RequestContextManager":  # what aiohttp calls it
        """A GET, sent once, whose answer is read as it comes, however long that takes."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout.total, sock_read=_QUIET_SECONDS)
        return self._opened().get(self.url + path, headers={**self._key, **headers}, timeout=timeout)

    async def send(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        form: Callable[[], aiohttp.FormData] | None = None,
    ) -> Answer:
        """Sends until it is answered. A `target` with an origin of its own, such as a link, is sent no key.

        Raises what a refusal tells of, and ServiceUnreachable.
        """
        own = target.startswith("/")
        url, sent = (self.url + target, {**self._key, **(headers or {})}) if own else (target, headers or {})
        for attempt in range(1, self.attempts + 1):
            try:
                data = form() if form is not None else None
                async with self._opened().request(method, url, headers=sent, data=data) as response:
                    answer = Answer(response.status, response.headers, await response.read())
            except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
                where = self.url if own else url
                raise ServiceUnreachable(f"{where} is no address of a service: write http://HOST:PORT") from error
            except BROKEN as error:
                if attempt == self.attempts:
                    where = self.url if own else str(URL(url).origin())  # a link's signature is nobody's affair
                    raise ServiceUnreachable(f"{where} does not answer: {reason(error)}") from error
            else:
                if answer.status >= HTTPStatus.BAD_REQUEST:
                    raise answer.error
                return answer
            await asyncio.sleep(pause_after(attempt))
        raise AssertionError("there is at least one attempt")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self._session
