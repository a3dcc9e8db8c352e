"""The page at `/`: static files (HTML, CSS, ES modules) that the browser runs as they are; served by `api.page`.

A caller like any other: it speaks the HTTP API and knows nothing of the service's inside.
"""
