"""`/images/{key}`: the temporary link of a rendered image. GET, HEAD and Range."""

import time

from aiohttp import web

from orchestrator.api.keys import SIGNER, STORE


async def get_image(request: web.Request) -> web.StreamResponse:
    """GET /images/{key}?expires=…&signature=…"""
    key, query = request.match_info["key"], request.query
    expires = request.app[SIGNER].check(key, query.get("expires", ""), query.get("signature", ""), time.time())
    image = await request.app[STORE].open(key)
    left = max(0, int(expires - time.time()))
    headers = {
        "Content-Type": image.content_type,
        "Cache-Control": f"private, max-age={left}, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": "inline",
    }
    return web.FileResponse(image.path, headers=headers)
