"""`/images/{key}`: the temporary link of a rendered image. GET, HEAD, Range, and 304 for who has it."""

import time

from aiohttp import web

from orchestrator.api.keys import SIGNER, STORE
from orchestrator.api.problems import problem


async def get_image(request: web.Request) -> web.StreamResponse:
    """GET /images/{key}?expires=…&signature=…"""
    key, query = request.match_info["key"], request.query
    expires = request.app[SIGNER].check(key, query.get("expires", ""), query.get("signature", ""), time.time())
    image = await request.app[STORE].open(key)
    if _is_beyond(request, image.size):
        # aiohttp's own answer is empty, of the image's type, and kept as long as the image.
        refusal = problem(416, "range_not_satisfiable", f"The image has {image.size} bytes, none of them in that range")
        refusal.headers.update({"Content-Range": f"bytes */{image.size}", "Cache-Control": "no-store"})
        return refusal
    left = max(0, int(expires - time.time()))
    headers = {
        "Content-Type": image.content_type,
        "Cache-Control": f"private, max-age={left}, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": "inline",
    }
    return web.FileResponse(image.path, headers=headers)


def _is_beyond(request: web.Request, size: int) -> bool:
    try:
        start = request.http_range.start
    except ValueError:
        return True
    return start is not None and start >= size
