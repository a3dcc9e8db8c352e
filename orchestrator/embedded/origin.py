"""Keeps web pages of others off this backend: a browser lets any page send requests to an address of this machine.

ComfyUI compares `Origin` with `Host`; here, too, the host must be one that no stranger's name server can point at us.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_PORTS = {"http": 80, "https": 443}


def own_pages_only(*, loopback: bool) -> Middleware:
    """A middleware that answers 403 to pages of other origins; on `loopback`, also to names other than localhost."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if loopback and not _is_this_machine(request.host):
            raise web.HTTPForbidden(text="This backend answers as localhost or by its address only.")
        origin = request.headers.get("Origin")
        if origin is not None and not _same(origin, request.host):
            raise web.HTTPForbidden(text="A page of another address may not use this backend.")
        return await handler(request)

    return guard


def _is_this_machine(host: str) -> bool:
    name = _split(f"//{host}")[0]
    try:
        ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    return True


def _same(origin: str, host: str) -> bool:
    scheme = origin.split(":", 1)[0]
    name, port = _split(origin)
    own_name, own_port = _split(f"//{host}")
    default = _PORTS.get(scheme)
    return bool(name) and name == own_name and (port or default) == (own_port or default)


def _split(address: str) -> tuple[str, int | None]:
    """Host in lower case and port; an empty host for what cannot be read."""
    try:
        parts = urlsplit(address)
        return (parts.hostname or "").lower(), parts.port
    except ValueError:
        return "", None
