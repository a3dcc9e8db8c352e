"""Who may come in: an API key becomes the caller that handlers see. Must not know how keys are kept.

`Authorization: Bearer KEY` or `X-API-Key: KEY`. What is open to the world, or needs a right, stands in one table.
"""

from collections.abc import Mapping
from ipaddress import ip_address

from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from orchestrator.api.keys import API_KEYS, HOSTS
from orchestrator.callers.caller import ANYBODY, STRANGER, Caller, Right
from orchestrator.errors import KeyNeeded, NotPermitted

CALLER = web.RequestKey("caller", Caller)

PUBLIC = frozenset(
    {
        "/",
        "/page/{folder}/{name}",
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/images/{key}",
        "/models/{sha256}",
        "/jobs/{id}/open",
    }
)
"""Routes that need no key: the page and its files, what says how the service is, and links that are signed."""
NEEDS: Mapping[str, Right] = {"/backends": Right.OPERATE, "/metrics": Right.OPERATE}
"""Routes that need a right, whatever is done there. All the others need a key; what runs or publishes asks for its
right itself."""


def caller_of(request: web.Request) -> Caller:
    """Whoever sent the request, as `access` has found."""
    return request[CALLER]


@web.middleware
async def access(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Lets nobody in without a key, where keys are asked for. Raises KeyNeeded and NotPermitted."""
    request[CALLER] = _caller(request)
    return await handler(request)


def _caller(request: web.Request) -> Caller:
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else ""
    keys = request.app[API_KEYS]
    if keys is None:
        if route not in PUBLIC:
            _require_known_host(request)
        return ANYBODY
    if route in PUBLIC:
        return STRANGER
    given = given_key(request)
    caller = keys.caller(given) if given else None
    if caller is None:
        raise KeyNeeded("This API key is not known, or was revoked" if given else None)
    if route in NEEDS:
        caller.require(NEEDS[route])
    return caller


def _require_known_host(request: web.Request) -> None:
    """Raises NotPermitted for a request that asks this machine's own service by a name that is not this machine's.

    A page elsewhere can have its name resolve to 127.0.0.1, and would then be of the same origin as the service.
    """
    known = request.app[HOSTS]
    if known is None:
        return
    try:
        host = (URL(f"http://{request.host}").host or "").lower()
    except ValueError:
        host = ""
    if host in known or _is_loopback(host):
        return
    raise NotPermitted(
        f"This service listens on its own machine alone and is not called {host[:100]!r}; set public_url where a proxy"
        " passes that name on"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def given_key(request: web.Request) -> str:
    """The API key that came with the request, empty without."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else request.headers.get("X-API-Key", "").strip()
