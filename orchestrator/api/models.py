"""`/models/{sha256}`: a model's file for a backend that does not share the shelf. Signed, with Range."""

import asyncio
import time

from aiohttp import web

from orchestrator.api.keys import MODEL_SIGNER, OUTLET
from orchestrator.errors import ModelNotFound


async def get_model(request: web.Request) -> web.StreamResponse:
    """GET /models/{sha256}?expires=…&signature=…"""
    sha256, query = request.match_info["sha256"], request.query
    request.app[MODEL_SIGNER].check(sha256, query.get("expires", ""), query.get("signature", ""), time.time())
    path = await asyncio.to_thread(request.app[OUTLET].find, sha256)
    if path is None:
        raise ModelNotFound("That model is not on the shelf any more")
    return web.FileResponse(path, headers={"Content-Type": "application/octet-stream"})
