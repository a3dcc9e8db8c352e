"""Every metric of the service, for Prometheus; in a registry of its own, so that services in one process do not mix.

`docs/operations.md` describes each; a test compares the names. No label takes what a caller can make up.
"""

from collections.abc import Mapping
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest

from orchestrator import errors

_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})


_FAILURES = (
    *(
        errors.InvalidParameters,
        errors.NoBackend,
        errors.GraphRejected,
        errors.ExecutionFailed,
        errors.OutOfMemory,
        errors.JobInterrupted,
    ),
    *(errors.BackendLost, errors.DeviceFault, errors.BackendTimeout),
    *(errors.ModelNotFound, errors.ModelGone, errors.ModelGated, errors.ModelRegionBlocked, errors.ModelMismatch),
    *(errors.ModelUnsafe, errors.ModelUnavailable, errors.DownloadFailed),
    *(errors.StorageError, errors.StorageFull, errors.ShelfFull),
)
"""What a job that was taken may end with, besides `internal_error`."""


class Metrics:
    """Counts as it is told; `render` is what Prometheus reads."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self._named: dict[str, frozenset[str]] = {"orchestrator_info": frozenset({"version"})}
        ProcessCollector(registry=registry)
        Info("orchestrator", "The service", registry=registry).info({"version": version("comfy-orchestrator")})
        self._requests = self._counter("http_requests", "Requests answered", "method", "route", "status")
        self._request_seconds = self._histogram(
            "http_request_seconds", "From a request's head to the end of its answer", "method", "route"
        )
        self._runs = self._counter("runs", "Runs asked for and taken", "widget", "caller")
        self._jobs = self._gauge("jobs", "Jobs that have not ended", "state")
        self._ended = self._counter("jobs_ended", "Jobs by their end", "outcome", "code")
        self._requeued = self._counter("jobs_requeued", "Jobs that run again since their backend was lost")
        self._stages = self._histogram("stage_seconds", "Time in each stage", "stage")
        self._switches = self._counter("model_switches", "Jobs with another checkpoint than the one before", "backend")
        self._downloads = self._counter("downloads", "Models fetched", "outcome")
        self._downloaded = self._counter("download_bytes", "Bytes of models fetched whole")
        self._backends = self._gauge("backends", "Backends by state", "state")
        self._webhooks = self._counter("webhook_tries", "Posts to webhooks", "outcome")
        self._begin_at_zero()

    @property
    def described(self) -> Mapping[str, frozenset[str]]:
        """The name of each metric of our own, as Prometheus shows it, and the names of its labels."""
        return self._named

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request is over. `route` as it is written in the table of routes."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(method, route).observe(seconds)

    def taken(self, widget: str, caller: str) -> None:
        """A request for a run has its job."""
        self._runs.labels(widget, caller).inc()

    def ended(self, outcome: str, code: str) -> None:
        """A job has ended; `code` is that of the error it failed with, else empty."""
        self._ended.labels(outcome, code).inc()

    def requeued(self) -> None:
        """A job runs again."""
        self._requeued.inc()

    def passed(self, stage: str, seconds: float) -> None:
        """A job is through a stage."""
        self._stages.labels(stage).observe(seconds)

    def switched(self, backend: str) -> None:
        """A backend has to load another checkpoint."""
        self._switches.labels(backend).inc()

    def downloaded(self, outcome: str, size: int) -> None:
        """A download is over: "done" or "failed"; `size` in bytes."""
        self._downloads.labels(outcome).inc()
        if outcome == "done":
            self._downloaded.inc(size)

    def posted(self, outcome: str) -> None:
        """A webhook was tried: "delivered", "failed" (it is tried again) or "dead"."""
        self._webhooks.labels(outcome).inc()

    def render(self, jobs: dict[str, int], backends: dict[str, int]) -> bytes:
        """All of it in Prometheus's text format, with how many jobs and backends are in each state now."""
        for gauge, counts in ((self._jobs, jobs), (self._backends, backends)):
            gauge.clear()
            for state, count in counts.items():
                gauge.labels(state).set(count)
        return generate_latest(self.registry)

    def _begin_at_zero(self) -> None:
        """For the labels that are known: of a series that begins with its first event Prometheus sees no increase."""
        for outcome in ("succeeded", "cancelled"):
            self._ended.labels(outcome, "")
        for code in (*(kind().code for kind in _FAILURES), "internal_error"):
            self._ended.labels("failed", code)
        for outcome in ("done", "failed"):
            self._downloads.labels(outcome)
        for outcome in ("delivered", "failed", "dead"):
            self._webhooks.labels(outcome)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        self._named[f"orchestrator_{name}_total"] = frozenset(labels)
        return Counter(f"orchestrator_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        self._named[f"orchestrator_{name}"] = frozenset(labels)
        return Gauge(f"orchestrator_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        self._named[f"orchestrator_{name}"] = frozenset(labels)
        return Histogram(f"orchestrator_{name}", text, labels, buckets=_SECONDS, registry=self.registry)
