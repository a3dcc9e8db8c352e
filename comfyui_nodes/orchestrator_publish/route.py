"""The route on ComfyUI's own server. See the pack's docstring."""

import os

from .passing import URL, Passing, Refused, admit, passing

_SECONDS = 60.0
_LONGEST = 1 << 20
"""Bytes of an answer that are passed back."""


def register() -> None:
    """Adds the route to the ComfyUI that runs, if one does."""
    try:
        from server import PromptServer

        routes = PromptServer.instance.routes
    except (ImportError, AttributeError):
        return
    import aiohttp
    from aiohttp import web

    async def passed_on(wanted: Passing) -> web.Response:
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            # A redirect would take the key elsewhere.
            session.put(wanted.url, json=wanted.body, headers=wanted.headers, allow_redirects=False) as answer,
        ):
            body = await answer.content.read(_LONGEST)
            if answer.content_type not in ("application/json", "application/problem+json"):
                return _failed(502, f"what answers at {wanted.url} ({answer.status}) is not the service")
            return web.Response(status=answer.status, body=body, content_type="application/json")

    def _failed(status: int, why: str) -> web.Response:
        return web.json_response({"detail": why[:1].upper() + why[1:] + "."}, status=status)

    @routes.get("/orchestrator/publish")  # type: ignore[untyped-decorator]
    async def where(request: web.Request) -> web.Response:
        return web.json_response({"address": os.environ.get(URL, "")})

    @routes.post("/orchestrator/publish")  # type: ignore[untyped-decorator]
    async def publish(request: web.Request) -> web.Response:
        try:
            admit(request.headers)
            wanted = passing(await request.json(), request.host, os.environ)
        except Refused as error:
            return _failed(403, str(error))
        except ValueError as error:
            return _failed(400, f"the body is not JSON: {error}")
        try:
            return await passed_on(wanted)
        except TimeoutError:
            return _failed(504, f"the service at {wanted.url} has not answered for {_SECONDS:.0f} s")
        except aiohttp.ClientError as error:
            return _failed(502, f"the service cannot be reached at {wanted.url}: {error}")
