"""Brings models to a ComfyUI that does not share a disk with the service: no nodes, one route.

`POST /orchestrator/models` with {kind, file, sha256, size, url} answers where the file stands: `there`, `fetching` or
`failed`; asking again is how to wait. Works only where the environment's ORCHESTRATOR_URL names the service, since it
makes this machine fetch what a request says; the embedded backend, which reads the service's own folder, has none.
"""

from .route import register

NODE_CLASS_MAPPINGS: dict[str, type] = {}

register()

__all__ = ["NODE_CLASS_MAPPINGS"]
