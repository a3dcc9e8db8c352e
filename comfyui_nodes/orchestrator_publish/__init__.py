"""*Publish as widget* in ComfyUI's editor: no nodes, a script for the editor, and one route that it speaks to.

`POST /orchestrator/publish` passes a workflow on to the service, which says what it makes of it. The environment's
ORCHESTRATOR_PUBLISH_URL names the service; without it, the address in the editor's settings does.
"""

from .route import register

NODE_CLASS_MAPPINGS: dict[str, type] = {}
WEB_DIRECTORY = "./web"

register()

__all__ = ["NODE_CLASS_MAPPINGS", "WEB_DIRECTORY"]
