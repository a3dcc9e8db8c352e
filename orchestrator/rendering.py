"""One leased job at one backend: models and pictures sent, progress told, the image fetched; or cancelled, or taken up
again.

Knows nothing of what becomes of the image, nor of the job when this fails.
"""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress

from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.execution import Progress
from orchestrator.comfy.faults import InputRefused
from orchestrator.comfy.graph import Graph
from orchestrator.comfy.wire import Upload
from orchestrator.errors import BackendError, ExecutionFailed, FieldError, InvalidParameters, OrchestratorError
from orchestrator.jobs.engine import Lease
from orchestrator.jobs.job import Fetching, JobSpec, Preview, Queued, Running
from orchestrator.provisions import Provisions
from orchestrator.supplying import ModelSupplier
from orchestrator.telling import told_by

_RECALLED = 1.0
"""Seconds in which the backend is not told again to give a job back: it may have begun in that moment."""


class Stopped(Exception):
    """The job was to be cancelled, and is; or it is another's by now."""


async def render(
    lease: Lease,
    backend: BackendClient,
    provisions: Provisions,
    supplier: ModelSupplier,
    begun: Callable[[], None] = lambda: None,
) -> bytes:
    """The image's PNG, as the backend made it; `begun` is called when the backend is seen to work on the job.

    Raises Stopped, InvalidParameters for a text that the backend finds to be too much, or whatever
    `Provisions.models`, `ModelSupplier.supply` or BackendClient.run raises.
    """
    running = asyncio.create_task(_run(lease, backend, provisions, supplier, begun))
    cancelled = asyncio.create_task(lease.cancelled.wait())
    recalls = asyncio.create_task(_heed_recalls(lease, backend))
    try:
        await asyncio.wait({running, cancelled}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            return running.result()
        if lease.lost:
            backend.leave(lease.spec.id)
        raise Stopped
    finally:
        for task in (running, cancelled, recalls):
            task.cancel()
        await asyncio.wait({running, cancelled, recalls})


async def _heed_recalls(lease: Lease, backend: BackendClient) -> None:
    while True:
        await lease.recalled.wait()
        with suppress(BackendError):
            await backend.withdraw(lease.spec.id)
        await asyncio.sleep(_RECALLED)
        lease.recalled.clear()


async def _run(
    lease: Lease,
    backend: BackendClient,
    provisions: Provisions,
    supplier: ModelSupplier,
    begun: Callable[[], None],
) -> bytes:
    spec = lease.spec

    told: Running | None = None

    async def show(now: Progress) -> None:
        nonlocal told
        title, done, total = now.node_title, now.nodes_done, now.nodes_total
        state = Running(backend.name, title, now.step, now.steps, done, total)
        if state != told:
            told = state
            await lease.progress(state)
        if now.preview is not None and lease.watched:
            await lease.progress(Preview(_data_url(now.preview), title))

    uploads: Sequence[Upload] = ()
    if not lease.resumed:
        await _bring_models(lease, backend, provisions, supplier)
        uploads = [Upload(name, png) for name, png in (await provisions.pictures(spec)).items()]
    try:
        return await backend.run(
            Graph.from_api(spec.graph),
            spec.id,
            spec.output_node,
            deadline=spec.deadline,
            on_begin=begun,
            on_progress=show,
            uploads=uploads,
            resume=lease.resumed,
        )
    except InputRefused as refusal:
        raise _whose(refusal, spec) from refusal


def _whose(refusal: InputRefused, spec: JobSpec) -> OrchestratorError:
    """The caller's fault, where it wrote the text; else the graph's."""
    parameter = spec.texts.get(refusal.node)
    if parameter is None:
        return ExecutionFailed(refusal.detail)
    return InvalidParameters(f"This parameter cannot be used: {parameter}", [FieldError(parameter, refusal.complaint)])


def _data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + b64encode(jpeg).decode()


async def _bring_models(lease: Lease, backend: BackendClient, provisions: Provisions, supplier: ModelSupplier) -> None:
    """Sees that the backend can read the job's models; listeners hear of it if that takes a download."""
    fetching = False

    async def show(now: Fetching) -> None:
        nonlocal fetching
        fetching = True
        await lease.progress(now)

    files = await provisions.models(lease.spec, show)
    async with told_by(show) as hear:
        await supplier.supply(backend, files, hear)
    if fetching:
        await lease.progress(Queued())
