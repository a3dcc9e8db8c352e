"""Who is told what happens to jobs, and makes metrics, log lines and spans of it. Must not change what happens."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from orchestrator.jobs.job import Ended, Failed, Happening, Requeued
from orchestrator.telemetry.logs import STAGES
from orchestrator.telemetry.metrics import Metrics
from orchestrator.telemetry.tracing import Tracer, tracer_to


class Observer:
    """Cheap enough to be called for every stage of every job; without a `tracer` there are no spans."""

    def __init__(self, metrics: Metrics, tracer: Tracer | None = None) -> None:
        self.metrics = metrics
        self._tracer = tracer

    def passed(self, job_id: str, stage: str, seconds: float) -> None:
        """A job is through a stage, now."""
        self.metrics.passed(stage, seconds)
        told = {"job": job_id, "stage": stage, "seconds": round(seconds, 4)}
        STAGES.info("job %s: %s took %.3f s", job_id, stage, seconds, extra=told)
        if self._tracer is not None:
            self._tracer.stage(job_id, stage, seconds)

    def happened(self, job_id: str, created: float, happening: Happening) -> None:
        """Something happened to a job that was created then (seconds since the epoch)."""
        if isinstance(happening, Requeued):
            self.metrics.requeued()
        elif isinstance(happening, Ended):
            code = happening.code if isinstance(happening, Failed) else ""
            self.metrics.ended(happening.kind, code)
            told: Mapping[str, str] = {"outcome": happening.kind} | ({"code": code} if code else {})
            STAGES.info("job %s: %s", job_id, happening.kind, extra={"job": job_id, **told})
            if self._tracer is not None:
                self._tracer.job(job_id, created, told, failed=isinstance(happening, Failed))


@asynccontextmanager
async def observing(otlp_endpoint: str, metrics: Metrics) -> AsyncIterator[Observer]:
    """An observer that sends spans to that collector, if one is named. Raises SettingsError without opentelemetry."""
    tracer = tracer_to(otlp_endpoint) if otlp_endpoint else None
    try:
        yield Observer(metrics, tracer)
    finally:
        if tracer is not None:
            await asyncio.to_thread(tracer.close)
