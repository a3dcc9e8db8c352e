"""Pages of other origins: none may read an answer, but those that the operator lists (CORS).

Without keys, none may set anything going either: a browser sends a page's POST to this machine without asking, even if
the page may not read what comes back.
"""

from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from orchestrator.api.keys import API_KEYS, ORIGINS, SIGNER
from orchestrator.errors import NotPermitted

_METHODS = "GET, HEAD, POST, PUT, DELETE"
_SENT = (
    "Authorization, X-API-Key, Content-Type, Accept, Prefer, Idempotency-Key, X-Priority, X-Cancel-On-Disconnect, "
    "X-Webhook-URL, Last-Event-ID, Range"
)
_READ = "X-Job-Id, X-Seed, X-Ignored-Parameters, Server-Timing, Location, Retry-After, Content-Disposition"
_SECONDS = "600"
"""How long a browser need not ask again."""


@web.middleware
async def cross_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers a browser that asks first, and refuses what one sends unasked. Raises NotPermitted."""
    if _allowed(request) is not None:
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            headers = {
                "Access-Control-Allow-Methods": _METHODS,
                "Access-Control-Allow-Headers": _SENT,
                "Access-Control-Max-Age": _SECONDS,
            }
            return web.Response(status=204, headers=headers)
    elif (
        request.app[API_KEYS] is None
        and request.method not in ("GET", "HEAD", "OPTIONS")
        and _is_from_another_origin(request)
    ):
        raise NotPermitted("A page of another origin may not do that; the operator can list it in cors_origins")
    return await handler(request)


async def allow_origin(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Lets the page that asks read the answer, whatever kind it is: called before its headers are sent."""
    if not isinstance(request, web.Request) or not request.app[ORIGINS]:
        return
    response.headers.add("Vary", "Origin")
    allowed = _allowed(request)
    if allowed is not None:
        response.headers["Access-Control-Allow-Origin"] = allowed
        response.headers["Access-Control-Expose-Headers"] = _READ


def _is_from_another_origin(request: web.Request) -> bool:
    """Whether a page sent the request that is not this service's own. Programs name no origin."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        # The browser's own word, which no page can put in, and true behind a proxy that changes the host, too.
        return site not in ("same-origin", "none")
    return origin is not None and not _is_own(request, origin)


def _is_own(request: web.Request, origin: str) -> bool:
    """Whether the origin is the host that was asked, whatever a proxy before it speaks, or the one in public_url."""
    try:
        page = URL(origin).origin()
        return page in (URL(f"{page.scheme}://{request.host}").origin(), URL(request.app[SIGNER].base_url).origin())
    except ValueError:  # "null" is none, for one
        return False


def _allowed(request: web.Request) -> str | None:
    """The origin that the request comes from, if it is listed; None for all others, and for what is no page."""
    origins, origin = request.app[ORIGINS], request.headers.get("Origin")
    if origin is None or not ({"*", origin} & origins):
        return None
    return origin
