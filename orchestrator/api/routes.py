"""Every route of the service, written out."""

from aiohttp import web

from orchestrator.api import (
    backends,
    editor,
    events,
    health,
    images,
    jobs,
    metrics,
    models,
    myshell,
    openapi,
    page,
    publishing,
    samplers,
    widgets,
)

ROUTES = (
    web.get("/", page.get_page),
    web.get("/page/{folder}/{name}", page.get_file),
    web.get("/widgets", widgets.list_widgets),
    web.get("/widgets/{name}", widgets.describe_widget),
    web.post("/widgets/{name}", widgets.run_widget),
    web.put("/widgets/{name}", publishing.publish_widget),
    web.get("/backends", backends.list_backends),
    web.get("/samplers", samplers.list_samplers),
    web.post(myshell.PATH, myshell.run_widget),
    web.get("/images/{key}", images.get_image),
    web.get("/models", models.list_models),
    web.get("/models/{sha256}", models.get_model),
    web.get("/jobs/{id}", jobs.get_job),
    web.delete("/jobs/{id}", jobs.cancel_job),
    web.get("/jobs/{id}/events", events.get_events, allow_head=False),
    web.get("/jobs/{id}/prompt", jobs.get_prompt),
    web.get("/jobs/{id}/workflow", jobs.get_workflow),
    web.get("/jobs/{id}/open", editor.open_job, allow_head=False),
    web.get("/openapi.json", openapi.get_openapi),
    web.get("/metrics", metrics.get_metrics),
    web.get("/healthz", health.healthz),
    web.get("/readyz", health.readyz),
)
