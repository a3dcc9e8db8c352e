"""What is still to be told to webhooks: columns of the jobs themselves, set by the statement that ends a job.

So a job and the word of its end are written together or not at all. Must not know how anything is told.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Literal

from orchestrator.jobs.job import Delivery
from orchestrator.jobs.sqlite.database import Database


class SqliteOutbox:
    """An Outbox. `clock` gives seconds since the epoch; a job that was given up is kept `kept` seconds more."""

    def __init__(self, database: Database, clock: Callable[[], float], kept: float) -> None:
        self._database = database
        self._clock = clock
        self._kept = kept

    async def due(self, most: int, each: int | None = None) -> Sequence[str]:
        """The ids of the jobs whose webhooks are to be told now, owners by turns."""
        line = (
            "SELECT id FROM (SELECT id, hook_due, row_number() OVER (PARTITION BY owner ORDER BY hook_due) AS n"
            " FROM jobs WHERE hook_due <= ?) WHERE n <= ? ORDER BY n, hook_due LIMIT ?"
        )
        values = (self._clock(), most if each is None else each, most)
        return await self._database.run(lambda db: [row["id"] for row in db.execute(line, values)])

    async def delivered(self, job_id: str, answer: str) -> None:
        """It was told."""
        await self._write("hook_due = NULL, hook_state = 'delivered'", job_id, answer)

    async def postponed(self, job_id: str, answer: str, delay: float) -> None:
        """It was not, and is to be again after so many seconds."""
        await self._write("hook_due = :due", job_id, answer, due=self._clock() + delay)

    async def given_up(self, job_id: str, answer: str) -> None:
        """It was not, and is not to be any more."""
        kept = "hook_due = NULL, hook_state = 'dead', expires = max(expires, :until)"
        await self._write(kept, job_id, answer, until=self._clock() + self._kept)

    async def _write(self, change: str, job_id: str, answer: str, **times: float) -> None:
        update = f"UPDATE jobs SET {change}, hook_tries = hook_tries + 1, hook_told = :answer WHERE id = :id"
        await self._database.run(lambda db: db.execute(update, {"id": job_id, "answer": answer, **times}).rowcount)


def delivery(row: sqlite3.Row) -> Delivery | None:
    """How the word of a job's end fares, by the job's row; None where nobody is to be told."""
    if not row["webhook"]:
        return None
    return Delivery(_delivery_state(row), row["hook_tries"], row["hook_told"], row["hook_due"])


def _delivery_state(row: sqlite3.Row) -> Literal["waiting", "pending", "delivered", "dead"]:
    if row["hook_due"] is not None:
        return "pending"
    if row["ended"] is None:
        return "waiting"
    return "dead" if row["hook_state"] == "dead" else "delivered"
