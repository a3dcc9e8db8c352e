"""Spans for OpenTelemetry: one trace a job, one span a stage. Imports opentelemetry only when spans are wanted.

A trace's id is its job's id, which is a UUID, so that the spans of a job are one trace though the service was restarted
in the middle of it, and a job's trace is found without a search.
"""

import hashlib
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from orchestrator.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter


class Tracer(Protocol):
    """Is told what has passed."""

    def stage(self, job_id: str, stage: str, seconds: float) -> None:
        """A stage that took so long is over now."""

    def job(self, job_id: str, created: float, attributes: Mapping[str, str], *, failed: bool) -> None:
        """A job that was created then (seconds since the epoch) has ended now."""

    def close(self) -> None:
        """Sends what is left. Blocks for some seconds at most."""


def tracer_to(endpoint: str) -> Tracer:
    """Sends to an OTLP/HTTP collector, such as http://localhost:4318. Raises SettingsError without opentelemetry."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise SettingsError("otlp_endpoint needs OpenTelemetry: pip install 'comfy-orchestrator[tracing]'") from error
    return SpanTracer(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=5))


class SpanTracer:
    """A Tracer that hands spans to an exporter, in a thread of its own."""

    def __init__(self, exporter: "SpanExporter") -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        class Ids(RandomIdGenerator):
            """Random, but for a job's own span."""

            span_id = 0
            trace_id = 0

            def generate_span_id(self) -> int:
                return self.span_id or super().generate_span_id()

            def generate_trace_id(self) -> int:
                return self.trace_id or super().generate_trace_id()

        self._ids = Ids()
        resource = Resource.create({SERVICE_NAME: "comfy-orchestrator"})
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("orchestrator")

    def stage(self, job_id: str, stage: str, seconds: float) -> None:
        """A stage that took so long is over now."""
        from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

        trace_id, span_id = _ids_of(job_id)
        parent = NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(1)))
        end = time.time_ns()
        began = end - round(seconds * 1e9)
        span = self._tracer.start_span(stage, set_span_in_context(parent), attributes={"job": job_id}, start_time=began)
        span.end(end)

    def job(self, job_id: str, created: float, attributes: Mapping[str, str], *, failed: bool) -> None:
        """A job that was created then has ended now."""
        from opentelemetry.context import Context
        from opentelemetry.trace import StatusCode

        self._ids.trace_id, self._ids.span_id = _ids_of(job_id)
        try:
            began = round(created * 1e9)
            about = {"job": job_id, **attributes}
            span = self._tracer.start_span("job", Context(), attributes=about, start_time=began)
        finally:
            self._ids.trace_id = self._ids.span_id = 0
        if failed:
            span.set_status(StatusCode.ERROR)
        span.end()

    def close(self) -> None:
        """Sends what is left."""
        self._provider.shutdown()


def _ids_of(job_id: str) -> tuple[int, int]:
    """Of a job's trace, and of its own span in it."""
    digest = hashlib.sha256(job_id.encode()).digest()
    return uuid.UUID(job_id).int, int.from_bytes(digest[:8]) or 1
