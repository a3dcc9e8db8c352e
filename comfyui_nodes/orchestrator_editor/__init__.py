"""Opens the service's jobs in ComfyUI's editor: no nodes, one script for the browser.

The service puts a job's workflow at `userdata/orchestrator/<job>.json` and sends the browser to
`/?orchestrator_job=<job>`; `web/open_job.js` loads it there, in a tab of its own. Knows nothing of the service.
"""

NODE_CLASS_MAPPINGS: dict[str, type] = {}
WEB_DIRECTORY = "./web"

__all__ = ["NODE_CLASS_MAPPINGS", "WEB_DIRECTORY"]
