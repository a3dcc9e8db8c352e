"""`Client`: the same for programs without an event loop. It runs one in a thread of its own, so that it also works
inside a notebook, whose loop is running already, and so that progress comes as it happens."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from orchestrator.client.answers import Job, Progress, WidgetDescription, WidgetEntry
from orchestrator.client.asynchronous import CANCEL_SECONDS, AsyncClient
from orchestrator.client.form import Values
from orchestrator.client.ignored import warn_of_ignored
from orchestrator.errors import OrchestratorError

T = TypeVar("T")


class _Quiet(AsyncClient):
    """Leaves the warning to `Client`, in whose caller's thread the line is that it is about."""

    def _warn(self, job: Job) -> None:
        pass


class Client:
    """`AsyncClient`, called and waited for. Use it as a context manager, or `close` it. One thread at a time."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        api_key: str | None = None,
        timeout: float = 60.0,
        attempts: int = 5,
    ) -> None:
        self._client = _Quiet(url, api_key=api_key, timeout=timeout, attempts=attempts)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="orchestrator client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections and ends its thread."""
        if self._loop.is_closed():
            return
        self._done(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def ready(self, seconds: float) -> None:
        """As `AsyncClient.ready`."""
        self._done(self._client.ready(seconds))

    def widgets(self) -> tuple[WidgetEntry, ...]:
        """What can be asked for."""
        return self._done(self._client.widgets())

    def widget(self, name: str) -> WidgetDescription:
        """One widget with its parameters. Raises UnknownWidget."""
        return self._done(self._client.widget(name))

    def submit(
        self,
        widget: str,
        values: Values,
        *,
        idempotency_key: str | None = None,
        output_format: Literal["png", "jpeg"] | None = None,
        priority: Literal["high", "normal", "low"] | None = None,
    ) -> Job:
        """As `AsyncClient.submit`."""
        job = self._done(
            self._client.submit(
                widget, values, idempotency_key=idempotency_key, output_format=output_format, priority=priority
            )
        )
        warn_of_ignored(job)
        return job

    def run(
        self,
        widget: str,
        values: Values,
        *,
        seconds: float | None = None,
        idempotency_key: str | None = None,
        output_format: Literal["png", "jpeg"] | None = None,
        priority: Literal["high", "normal", "low"] | None = None,
    ) -> Job:
        """As `AsyncClient.run`; Ctrl-C cancels the job."""
        job = self.submit(
            widget, values, idempotency_key=idempotency_key, output_format=output_format, priority=priority
        )
        try:
            return self.wait(job, seconds)
        except KeyboardInterrupt:
            with suppress(OrchestratorError, TimeoutError):
                self._done(asyncio.wait_for(self._client.cancel(job), CANCEL_SECONDS))
            raise

    def job(self, job: Job | str) -> Job:
        """The job as it stands now. Raises JobNotFound."""
        return self._done(self._client.job(job))

    def progress(self, job: Job | str) -> Iterator[Progress]:
        """As `AsyncClient.progress`, one by one as it happens."""
        coming = self._client.progress(job)

        async def following() -> Progress | None:
            return await anext(coming, None)

        try:
            while (told := self._done(following())) is not None:
                yield told
        finally:
            self._done(coming.aclose())

    def wait(self, job: Job | str, seconds: float | None = None) -> Job:
        """As `AsyncClient.wait`."""
        return self._done(self._client.wait(job, seconds))

    def cancel(self, job: Job | str) -> Job:
        """Cancels it, queued or running. Raises JobEnded when that came too late."""
        return self._done(self._client.cancel(job))

    def download(self, job: Job | str, path: Path | None = None) -> bytes:
        """As `AsyncClient.download`."""
        return self._done(self._client.download(job, path))

    def _done(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise
