"""`/models`: what a caller can name at once; `/models/{sha256}`: a file for a backend without the shelf, signed."""

import asyncio
import time

from aiohttp import web

from orchestrator.api.keys import MODEL_SIGNER, OUTLET, RECEPTION
from orchestrator.errors import ModelNotFound
from orchestrator.models.layout import KINDS


async def list_models(request: web.Request) -> web.Response:
    """GET /models: checkpoints and LoRAs that are here; any other Civitai version can be asked for all the same"""
    offered = await request.app[RECEPTION].models.offered()
    listed = {
        f"{kind}s": [
            {"name": one.name, "title": one.title, "family": one.family} for one in offered if one.kind == kind
        ]
        for kind in KINDS
    }
    return web.json_response(listed)


async def get_model(request: web.Request) -> web.StreamResponse:
    """GET /models/{sha256}?expires=…&signature=…"""
    sha256, query = request.match_info["sha256"], request.query
    request.app[MODEL_SIGNER].check(sha256, query.get("expires", ""), query.get("signature", ""), time.time())
    path = await asyncio.to_thread(request.app[OUTLET].find, sha256)
    if path is None:
        raise ModelNotFound("That model is not on the shelf any more")
    return web.FileResponse(path, headers={"Content-Type": "application/octet-stream"})
