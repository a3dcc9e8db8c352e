"""Everything about backends: ComfyUI's graphs, catalogue, messages and HTTP API, and the pool that shares backends out.

Knows nothing of widgets, models, images or of our own HTTP API.
"""
