"""`AsyncClient`: the HTTP API for programs with an event loop.

A request that is cut off is sent again, a few times and later each time; what makes a job goes under an idempotency
key, so that it makes one job however often it is sent.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

from orchestrator.client import answers
from orchestrator.client.answers import Ended, Failed, Job, Progress, Succeeded, WidgetDescription, WidgetEntry
from orchestrator.client.connection import BROKEN, FIRST_PAUSE, Answer, Connection, pause_after, reason
from orchestrator.client.events import read_events
from orchestrator.client.form import Values, form_of, read_parts, with_hints
from orchestrator.client.ignored import warn_of_ignored
from orchestrator.errors import (
    InvalidParameters,
    JobCancelled,
    JobUnfinished,
    NoBackend,
    OrchestratorError,
    ServiceUnreachable,
)

T = TypeVar("T")

CANCEL_SECONDS = 10.0
"""How long `run`, when it is interrupted, tries to cancel its job."""


class AsyncClient:
    """One service at `url`. Use it as a context manager, or `close` it.

    `api_key` is sent as a bearer token, to the service and nowhere else. `timeout` is in seconds, for each request but
    the wait for a job. `attempts` is how often a request is sent that is cut off.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        api_key: str | None = None,
        timeout: float = 60.0,
        attempts: int = 5,
    ) -> None:
        self._connection = Connection(url, api_key, timeout, attempts)
        self.url = self._connection.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes its connections; it opens new ones if it is used again."""
        await self._connection.close()

    async def ready(self, seconds: float) -> None:
        """Waits until the service can take a job, which may be starting yet. Raises NoBackend after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    with suppress(*BROKEN):
                        async with self._connection.open("/readyz", {}) as answer:
                            if answer.status == HTTPStatus.OK:
                                return
                    await asyncio.sleep(FIRST_PAUSE)
        except TimeoutError as error:
            raise NoBackend(f"No backend was ready within {seconds:.0f} s; the service's log says why") from error

    async def widgets(self) -> tuple[WidgetEntry, ...]:
        """What can be asked for."""
        return _understood(answers.read_widgets, (await self._connection.send("GET", "/widgets")).told)

    async def widget(self, name: str) -> WidgetDescription:
        """One widget with its parameters. Raises UnknownWidget."""
        told = (await self._connection.send("GET", f"/widgets/{quote(name, safe='')}")).told
        return _understood(lambda said: answers.read_widget(name, said), told)

    async def submit(
        self,
        widget: str,
        values: Values,
        *,
        idempotency_key: str | None = None,
        output_format: Literal["png", "jpeg"] | None = None,
        priority: Literal["high", "normal", "low"] | None = None,
    ) -> Job:
        """Asks for a job and answers at once, before it has run.

        The same `idempotency_key` with the same values is the same job; without one, each call is a job of its own.
        Values that the widget does not know are in the job's `ignored`, and warned of as `IgnoredParameters`.
        Raises TypeError for a value that cannot be sent, before anything is; InvalidParameters, and every other error
        that the service has, each with the `fields` at fault.
        """
        parts = await read_parts(values)
        headers = {"Prefer": "respond-async", "Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        if output_format is not None:
            headers["Accept"] = f"image/{output_format}"
        if priority is not None:
            headers["X-Priority"] = priority
        path = f"/widgets/{quote(widget, safe='')}"
        try:
            answer = await self._connection.send("POST", path, headers=headers, form=lambda: form_of(parts))
        except InvalidParameters as error:
            error.fields = with_hints(error.fields, values)
            raise
        job = _job(answer)
        self._warn(job)
        return job

    async def run(
        self,
        widget: str,
        values: Values,
        *,
        seconds: float | None = None,
        idempotency_key: str | None = None,
        output_format: Literal["png", "jpeg"] | None = None,
        priority: Literal["high", "normal", "low"] | None = None,
    ) -> Job:
        """`submit` and `wait` for so many `seconds` in one; when it is cancelled, so is the job."""
        job = await self.submit(
            widget, values, idempotency_key=idempotency_key, output_format=output_format, priority=priority
        )
        try:
            return await self.wait(job, seconds)
        except asyncio.CancelledError:
            with suppress(OrchestratorError, TimeoutError):
                async with asyncio.timeout(CANCEL_SECONDS):
                    await self.cancel(job)
            raise

    async def job(self, job: Job | str) -> Job:
        """The job as it stands now. Raises JobNotFound."""
        return _job(await self._connection.send("GET", f"/jobs/{_id(job)}"))

    async def progress(self, job: Job | str) -> AsyncGenerator[Progress, None]:
        """What happens to the job, the last being its end. Goes on where it was when the connection breaks.

        Raises JobNotFound, ServiceUnreachable.
        """
        last, failures = "0", 0
        while True:
            try:
                async with self._connection.open(f"/jobs/{_id(job)}/events", {"Last-Event-ID": last}) as answer:
                    if answer.status == HTTPStatus.NO_CONTENT:
                        yield (await self.job(job)).state
                        return
                    if answer.status != HTTPStatus.OK:
                        raise Answer(answer.status, answer.headers, await answer.read()).error
                    async for event in read_events(answer.content):
                        failures, last = 0, event.id or last
                        told = answers.read_progress(event.kind, event.data)
                        if told is not None:
                            yield told
                        if isinstance(told, Ended):
                            return
                fault = "the stream of events ended before the job"
            except (*BROKEN, ValueError) as error:
                fault = reason(error)
            except ServiceUnreachable as error:
                fault = error.detail
            failures += 1
            if failures >= self._connection.attempts:
                raise ServiceUnreachable(f"{self.url} was lost while the job ran: {fault}")
            await asyncio.sleep(pause_after(failures))

    async def wait(self, job: Job | str, seconds: float | None = None) -> Job:
        """The job that succeeded. Raises the error that it failed with, JobCancelled, or JobUnfinished after so many
        seconds (None: never); the job goes on then."""
        state: Progress | None = None
        try:
            async with asyncio.timeout(seconds), aclosing(self.progress(job)) as progress:
                async for told in progress:
                    state = told
        except TimeoutError as error:
            raise JobUnfinished(_id(job)) from error
        if isinstance(state, Failed):
            raise state.error
        if not isinstance(state, Succeeded):
            raise JobCancelled
        return await self.job(job)

    async def cancel(self, job: Job | str) -> Job:
        """Cancels it, queued or running. Raises JobEnded when that came too late."""
        return _job(await self._connection.send("DELETE", f"/jobs/{_id(job)}"))

    async def download(self, job: Job | str, path: Path | None = None) -> bytes:
        """The image of a job that succeeded, also written to `path` where one is given.

        Raises LinkExpired, ImageNotFound, and JobUnfinished for a job that has no image yet.
        """
        job = await self.job(job) if isinstance(job, str) else job
        if isinstance(job.state, Failed):
            raise job.state.error
        if not isinstance(job.state, Succeeded):
            raise JobCancelled if job.has_ended else JobUnfinished(job.id)
        image = (await self._connection.send("GET", job.state.url)).body
        if path is not None:
            await asyncio.to_thread(path.write_bytes, image)
        return image

    def _warn(self, job: Job) -> None:
        warn_of_ignored(job)


def _job(answer: Answer) -> Job:
    ignored = answer.headers.get("X-Ignored-Parameters", "")
    return _understood(lambda told: answers.read_job(told, ignored), answer.told)


def _understood(read: Callable[[Any], T], told: Any) -> T:
    try:
        return read(told)
    except ValueError as error:
        raise ServiceUnreachable(f"The service's answer is not understood: {error}") from error


def _id(job: Job | str) -> str:
    return quote(job, safe="") if isinstance(job, str) else job.id
