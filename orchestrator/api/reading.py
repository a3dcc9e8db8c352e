"""A request's body as it arrives: bounded in bytes and in time, never compressed. Must not know what is in it."""

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from orchestrator.api.admission import PLACE
from orchestrator.errors import BodyTooLarge, BodyTooSlow, EncodedBody, MalformedBody

GRACE_SECONDS = 20.0
PACE = 32_000
"""Bytes a second that a body must keep on average once the grace is over: slower than any connection that pictures can
be sent through, and it frees the place of a caller who is gone without a word."""


async def pieces(request: web.Request, *, grace: float = GRACE_SECONDS, pace: float = PACE) -> AsyncIterator[bytes]:
    """The body, piece by piece, at most `request.client_max_size` bytes in all.

    Raises BodyTooLarge (at once when the length is announced), BodyTooSlow when it takes longer than `grace` seconds
    and falls below `pace` bytes a second, EncodedBody, MalformedBody when the connection breaks off, and what the
    request's place raises when too much is being read at once.
    """
    limit, length = request.client_max_size, request.content_length
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise EncodedBody(f"The body's content encoding is {encoding[:20]!r}; send it as it is")
    if length is not None and length > limit:
        raise BodyTooLarge(f"The body has {length} bytes, and this service takes {limit}")
    started, received = time.monotonic(), 0
    while piece := await _next(request, started + grace + received / pace):
        received += len(piece)
        if received > limit:
            raise BodyTooLarge(f"The body is larger than the {limit} bytes that this service takes")
        if PLACE in request:
            request[PLACE].take(len(piece))
        yield piece


async def _next(request: web.Request, until: float) -> bytes:
    try:
        async with asyncio.timeout(max(0.0, until - time.monotonic())):
            return await request.content.readany()
    except TimeoutError as error:
        raise BodyTooSlow("The body came too slowly; send it again over a faster connection") from error
    except (HttpProcessingError, aiohttp.ClientPayloadError, web.RequestPayloadError) as error:
        raise MalformedBody(f"The body cannot be read: {error}") from error
    except ConnectionError as error:
        raise MalformedBody("The connection ended in the middle of the body") from error
