"""Empties the outbox: whatever is due is signed and posted, again and later when that fails, until it is given up.

At least once: a service that is killed between the post and its note of it posts again, under the same `webhook-id`.
Must not know how the outbox is kept, nor what a job looks like to a caller.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from yarl import URL

from orchestrator.comfy.supervision import Backoff, keep_running
from orchestrator.jobs.engine import JobEngine, Outbox
from orchestrator.jobs.job import Job
from orchestrator.webhooks.sender import Answer, Sender
from orchestrator.webhooks.signing import WebhookSigner

log = logging.getLogger(__name__)

DELAYS = (5.0, 30.0, 300.0, 1800.0, 7200.0, 18000.0, 28800.0, 28800.0)
"""Seconds before each further try, 23.6 hours in all, as Standard Webhooks proposes; give or take a tenth."""
_AT_ONCE = 32
_OF_ONE = 16
"""Of those, how many one caller's may be, so that receivers of its which hang do not hold up those of others."""
_LOOK_SECONDS = 0.5

Describe = Callable[[Job], Mapping[str, object]]
"""A job as its caller is told of it."""


@dataclass(eq=False)
class Messenger:
    """Looks for what is due, again and again, from `async with` to its end."""

    engine: JobEngine
    outbox: Outbox
    sender: Sender
    signer: WebhookSigner
    describe: Describe
    delays: tuple[float, ...] = DELAYS
    heard: Callable[[str], None] = lambda _: None
    """Called with "delivered", "failed" (it is tried again) or "dead" after each try."""
    _under_way: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _task: "asyncio.Task[None] | None" = None

    async def __aenter__(self) -> Self:
        await self.sender.__aenter__()
        run = keep_running("Webhooks", self._run, Backoff())
        self._task = asyncio.create_task(run, name="webhooks")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        await self.sender.__aexit__(kind, error, trace)

    async def _run(self) -> None:
        """Until cancelled. Raises StorageError when the outbox cannot be read."""
        try:
            while True:
                # What is under way is due, too, and counts among its caller's.
                for job_id in await self.outbox.due(_AT_ONCE, _OF_ONE) if len(self._under_way) < _AT_ONCE else ():
                    if job_id not in self._under_way and len(self._under_way) < _AT_ONCE:
                        self._begin(job_id)
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            tasks = tuple(self._under_way.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, job_id: str) -> None:
        task = asyncio.create_task(self._tell(job_id), name=f"webhook of job {job_id}")
        self._under_way[job_id] = task
        task.add_done_callback(lambda _: self._under_way.pop(job_id, None))

    async def _tell(self, job_id: str) -> None:
        try:
            job = await self.engine.get(job_id)
            if job is not None and job.delivery is not None:
                answer = await self._post(job)
                await self._note(job, job.delivery.tries, answer)
        except Exception:  # the edge of a supervised task: what is due stays due
            log.exception(
                "the webhook of job %s could not be seen to; it is tried again", job_id, extra={"job": job_id}
            )
            await asyncio.sleep(self.delays[0])

    async def _post(self, job: Job) -> Answer:
        ended = datetime.fromtimestamp(job.ended or 0.0, UTC).isoformat().replace("+00:00", "Z")
        told = {"type": f"job.{job.state.kind}", "timestamp": ended, "data": self.describe(job)}
        body = json.dumps(told).encode()
        headers = self.signer.headers(job.spec.owner, _message_id(job), int(time.time()), body)
        return await self.sender.post(job.spec.webhook, body, headers)

    async def _note(self, job: Job, tries: int, answer: Answer) -> None:
        host, told = URL(job.spec.webhook).host, {"job": job.id}
        if answer.took_it:
            self.heard("delivered")
            log.info("job %s: its webhook at %s has taken the word of its end", job.id, host, extra=told)
            await self.outbox.delivered(job.id, answer.text)
        elif answer.gone or tries >= len(self.delays):
            self.heard("dead")
            said = job.id, host, answer.text, tries + 1
            log.warning("job %s: its webhook at %s %s; given up after %d tries", *said, extra=told)
            await self.outbox.given_up(job.id, answer.text)
        else:
            delay = self.delays[tries] * random.uniform(0.9, 1.1)
            self.heard("failed")
            said = job.id, host, answer.text, round(delay)
            log.info("job %s: its webhook at %s %s; tried again in %d s", *said, extra=told)
            await self.outbox.postponed(job.id, answer.text, delay)


def _message_id(job: Job) -> str:
    """The same for all tries, and another for a job that has the id of one which was forgotten: under an idempotency
    key whose image has expired, a job comes about again."""
    return f"msg_{job.id}_{round(job.spec.created * 1000)}"
