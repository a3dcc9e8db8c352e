"""How long jobs take, learned from those that ended: what estimates for those that wait are made of. Pure."""

_NEWEST_SHARE = 0.2
_UNMEASURED_RUN = 10.0


class RunTimes:
    """A running mean of the seconds that a job keeps a backend busy, by widget and in all."""

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    @property
    def mean(self) -> float | None:
        """Of all jobs; None before the first."""
        return self._means.get("")

    def learn(self, widget: str, seconds: float) -> None:
        """One more job has ended well."""
        for name in ("", widget):
            mean = self._means.get(name, seconds)
            self._means[name] = mean + _NEWEST_SHARE * (seconds - mean)

    def wait(self, jobs: int, backends: int) -> float:
        """Seconds until one of `backends` backends is free for whoever has `jobs` jobs before it."""
        mean = _UNMEASURED_RUN if self.mean is None else self.mean
        return mean * (jobs + 1) / max(1, backends)

    def until_done(self, widget: str, jobs: int, backends: int) -> float | None:
        """Seconds until a queued job with `jobs` jobs before it has ended; None before anything was measured."""
        if self.mean is None:
            return None
        return self.wait(jobs, backends) + self._means.get(widget, self.mean)
