"""Lets the service delete the files that its jobs left in this ComfyUI: no nodes, one route.

`POST /orchestrator/results` with {prompt_id, files} deletes those of the files that the history lists as what this very
job made, in the output and the temp folder. Whatever else lies there is not touched. Knows nothing of the service.
"""

from .route import register

NODE_CLASS_MAPPINGS: dict[str, type] = {}

register()

__all__ = ["NODE_CLASS_MAPPINGS"]
