import subprocess
import sys
import time
import uuid

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from orchestrator.jobs.job import Cancelled, Failed, Queued, Requeued
from orchestrator.telemetry.metrics import Metrics
from orchestrator.telemetry.observer import Observer
from orchestrator.telemetry.tracing import SpanTracer


def test_a_job_is_one_trace_of_its_own_id_also_over_a_restart() -> None:
    job_id, spans = str(uuid.uuid4()), []
    for stages in (("check", "queue"), ("run",)):  # two lives of the service
        exporter = InMemorySpanExporter()
        tracer = SpanTracer(exporter)
        for stage in stages:
            tracer.stage(job_id, stage, 0.25)
        if "run" in stages:
            tracer.job(job_id, time.time() - 5, {"outcome": "failed", "code": "backend_lost"}, failed=True)
        tracer.close()
        spans += exporter.get_finished_spans()
    assert {span.context.trace_id for span in spans} == {uuid.UUID(job_id).int}
    (whole,) = [span for span in spans if span.name == "job"]
    parts = [span for span in spans if span.name != "job"]
    assert whole.parent is None
    assert {span.parent.span_id for span in parts if span.parent} == {whole.context.span_id}
    assert len({span.context.span_id for span in spans}) == 4
    assert [round((span.end_time - span.start_time) / 1e9, 3) for span in parts] == [0.25] * 3
    assert (whole.end_time - whole.start_time) / 1e9 == pytest.approx(5, abs=1)
    assert not whole.status.is_ok
    assert whole.attributes is not None
    assert whole.attributes["code"] == "backend_lost"


def test_what_happens_to_jobs_is_counted_by_its_end() -> None:
    metrics, exporter = Metrics(), InMemorySpanExporter()
    tracer = SpanTracer(exporter)
    observer = Observer(metrics, tracer)
    for happening in (Queued(), Requeued(reason="lost", attempt=2), Failed("backend_lost", "x"), Cancelled()):
        observer.happened(str(uuid.uuid4()), time.time(), happening)
    tracer.close()
    count = metrics.registry.get_sample_value
    assert count("orchestrator_jobs_ended_total", {"outcome": "failed", "code": "backend_lost"}) == 1
    assert count("orchestrator_jobs_ended_total", {"outcome": "cancelled", "code": ""}) == 1
    assert count("orchestrator_jobs_requeued_total") == 1
    assert [span.name for span in exporter.get_finished_spans()] == ["job", "job"]


def test_without_an_exporter_opentelemetry_is_not_even_imported() -> None:
    program = "import sys, orchestrator.app; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
