"""A caller's side of the HTTP API, typed: `AsyncClient`, and `Client` for programs without an event loop.

    with Client("http://127.0.0.1:8080") as client:
        job = client.submit("inpaint", {"image": Path("a.png"), "mask": Path("m.png"), "prompt": "a red hat"})
        for progress in client.progress(job):
            print(progress)
        client.download(client.wait(job), Path("out.png"))

What the service refuses is raised as the error that it raised there (`orchestrator.errors`), whose `fields` name the
parameters at fault. Knows the service by its HTTP API alone.
"""

from orchestrator.client.answers import (
    Cancelled,
    Failed,
    Fetching,
    Job,
    ParameterDescription,
    Preview,
    Progress,
    Queued,
    Requeued,
    Running,
    State,
    Succeeded,
    WidgetDescription,
    WidgetEntry,
)
from orchestrator.client.asynchronous import AsyncClient
from orchestrator.client.form import Value, Values
from orchestrator.client.ignored import IgnoredParameters
from orchestrator.client.synchronous import Client

__all__ = [
    "AsyncClient",
    "Cancelled",
    "Client",
    "Failed",
    "Fetching",
    "IgnoredParameters",
    "Job",
    "ParameterDescription",
    "Preview",
    "Progress",
    "Queued",
    "Requeued",
    "Running",
    "State",
    "Succeeded",
    "Value",
    "Values",
    "WidgetDescription",
    "WidgetEntry",
]
