"""The route on ComfyUI's own server. See the pack's docstring."""

import asyncio
from pathlib import Path

from .forgetting import forget


def register() -> None:
    """Adds the route to the ComfyUI that runs, if one does."""
    try:
        from server import PromptServer

        routes = PromptServer.instance.routes
    except (ImportError, AttributeError):
        return
    import folder_paths
    from aiohttp import web

    @routes.post("/orchestrator/opened/forget")  # type: ignore[untyped-decorator]
    async def forget_jobs(request: web.Request) -> web.Response:
        try:
            body = await request.json()
        except ValueError:
            return web.json_response({"error": "the body is not JSON"}, status=400)
        deleted = await asyncio.to_thread(forget, body, Path(folder_paths.get_input_directory()))
        return web.json_response({"deleted": deleted})
