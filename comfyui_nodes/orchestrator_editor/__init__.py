"""Opens the service's jobs in ComfyUI's editor: no nodes, one script for the browser, one route.

The service puts a job's workflow at `userdata/orchestrator/<job>.json`, its pictures at `input/orchestrator/opened`,
and sends the browser to `/?orchestrator_job=<job>`; `web/open_job.js` loads it there, in a tab of its own. `POST
/orchestrator/opened/forget` with {jobs} deletes the pictures of jobs, since ComfyUI has no way to. Knows nothing of
the service.
"""

from .route import register

NODE_CLASS_MAPPINGS: dict[str, type] = {}
WEB_DIRECTORY = "./web"

register()

__all__ = ["NODE_CLASS_MAPPINGS", "WEB_DIRECTORY"]
