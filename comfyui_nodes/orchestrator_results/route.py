"""The route on ComfyUI's own server. See the pack's docstring."""

import asyncio

from .deleting import delete_results


def register() -> None:
    """Adds the route to the ComfyUI that runs, if one does."""
    try:
        from server import PromptServer

        server = PromptServer.instance
        routes = server.routes
    except (ImportError, AttributeError):
        return
    import folder_paths
    from aiohttp import web

    def outputs(prompt_id: str) -> object:
        return server.prompt_queue.get_history(prompt_id=prompt_id).get(prompt_id, {}).get("outputs")

    @routes.post("/orchestrator/results")  # type: ignore[untyped-decorator]
    async def delete(request: web.Request) -> web.Response:
        try:
            body = await request.json()
        except ValueError:
            return web.json_response({"error": "the body is not JSON"}, status=400)
        deleted = await asyncio.to_thread(delete_results, body, outputs, folder_paths.get_directory_by_type)
        return web.json_response({"deleted": deleted})
