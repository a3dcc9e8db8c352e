"""What is written and read about one job: SQL on an open transaction, one function a statement or two.

Who gets which job is told by `claims`; times are seconds since the epoch.
"""

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from orchestrator.jobs.engine import Cancellation
from orchestrator.jobs.job import Cancelled, Ended, Failed, JobSpec, Timings, end_to_json, timings_to_json

MOST_LOSSES = 2
"""So often a job that was lost runs again."""


Became = Literal["new", "known", "at its share", "full"]
"""What became of a job that was submitted."""


@dataclass(frozen=True)
class Found:
    """A job as it is written; `place` is how many are before it in the queue."""

    row: sqlite3.Row
    spec: bytes
    place: int


def waiting(db: sqlite3.Connection) -> int:
    """How many jobs have been accepted and are not leased yet."""
    return fetching(db) + queued(db)


def fetching(db: sqlite3.Connection) -> int:
    """How many jobs wait for their models."""
    return int(db.execute("SELECT count(*) FROM jobs WHERE state = 'fetching'").fetchone()[0])


def queued(db: sqlite3.Connection) -> int:
    """How many jobs wait for a backend."""
    return int(db.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()[0])


def running(db: sqlite3.Connection) -> int:
    """How many jobs are leased."""
    return int(db.execute("SELECT count(*) FROM jobs WHERE state = 'running'").fetchone()[0])


def unfinished(db: sqlite3.Connection) -> frozenset[str]:
    """The ids of all that have not ended."""
    rows = db.execute("SELECT id FROM jobs WHERE state IN ('fetching', 'queued', 'running')")
    return frozenset(row["id"] for row in rows)


def kept(db: sqlite3.Connection) -> frozenset[str]:
    """The ids of all jobs."""
    return frozenset(row[0] for row in db.execute("SELECT id FROM jobs"))


def unfinished_of(db: sqlite3.Connection, owner: str) -> int:
    """How many of the owner's jobs have not ended."""
    count = "SELECT count(*) FROM jobs WHERE owner = ? AND ended IS NULL"
    return int(db.execute(count, (owner,)).fetchone()[0])


def spec(db: sqlite3.Connection, job_id: str) -> bytes:
    """The job's spec as JSON."""
    return bytes(db.execute("SELECT spec FROM specs WHERE id = ?", (job_id,)).fetchone()[0])


def read(db: sqlite3.Connection, job_id: str) -> Found | None:
    """The job, if there is one."""
    row = db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        return None
    place = 0
    if row["state"] == "queued":
        before = "SELECT count(*) FROM jobs WHERE state = 'queued' AND (priority, turn, created) < (?, ?, ?)"
        place = db.execute(before, (row["priority"], row["turn"], row["created"])).fetchone()[0]
    return Found(row, spec(db, job_id), place)


def insert(
    db: sqlite3.Connection,
    job: JobSpec,
    text: bytes,
    limit: int,
    state: Literal["fetching", "queued"],
    at_once: int | None = None,
) -> Became:
    """Writes a job whose JSON is `text`, unless its id is known, its owner has `at_once` unfinished ones, or `limit`
    jobs wait already."""
    if db.execute("SELECT 1 FROM jobs WHERE id = ?", (job.id,)).fetchone():
        return "known"
    if at_once is not None and unfinished_of(db, job.owner) >= at_once:
        return "at its share"
    if waiting(db) >= limit:
        return "full"
    classes = json.dumps(sorted(job.classes))
    db.execute("INSERT OR IGNORE INTO needs (classes) VALUES (?)", (classes,))
    needs = db.execute("SELECT id FROM needs WHERE classes = ?", (classes,)).fetchone()[0]
    turn, give_up = _next_turn(db, job.owner, job.priority), job.created + job.patience
    db.execute(
        "INSERT INTO jobs (id, state, priority, turn, created, give_up, available, model, needs, owner, webhook)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (job.id, state, job.priority, turn, job.created, give_up, 0.0, job.model, needs, job.owner, job.webhook),
    )
    db.execute("INSERT INTO specs (id, spec) VALUES (?, ?)", (job.id, text))
    return "new"


def fetched(db: sqlite3.Connection, job_id: str, now: float) -> bool:
    """From its models to the queue, where its patience begins. False when the job is not fetching (any more)."""
    row = db.execute("SELECT owner, priority FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        return False
    update = (
        "UPDATE jobs SET state = 'queued', fetched = :now, give_up = :now + give_up - created, turn = :turn"
        " WHERE id = :id AND state = 'fetching'"
    )
    turn = _next_turn(db, row["owner"], row["priority"])
    return db.execute(update, {"id": job_id, "now": now, "turn": turn}).rowcount == 1


def unfetched(db: sqlite3.Connection, job_id: str, reason: Failed, now: float, expires: float) -> bool:
    """Ends a job whose models cannot be had. False when it is not fetching (any more)."""
    row = db.execute("SELECT created FROM jobs WHERE id = ? AND state = 'fetching'", (job_id,)).fetchone()
    if row is None:
        return False
    return end(db, job_id, reason, (("fetch", max(0.0, now - row["created"])),), now, expires)


def end(
    db: sqlite3.Connection,
    job_id: str,
    state: Ended,
    timings: Timings,
    now: float,
    expires: float,
    fence: int | None = None,
) -> bool:
    """The job's last state. False when the lease of the number `fence` is not the newest, or the job has ended."""
    held = "" if fence is None else " AND state = 'running' AND fence = :fence"
    values = {
        "id": job_id,
        "state": state.kind,
        "end": end_to_json(state),
        "timings": timings_to_json(timings),
        "now": now,
        "expires": expires,
        "fence": fence,
    }
    update = (
        "UPDATE jobs SET state = :state, end = :end, timings = :timings, ended = :now, expires = :expires,"
        " hook_due = CASE WHEN webhook != '' THEN :now END"
    )
    return db.execute(f"{update} WHERE id = :id{held}", values).rowcount == 1


def is_cancelled(db: sqlite3.Connection, job_id: str) -> bool:
    """Whether its holder was told to cancel it."""
    row = db.execute("SELECT cancel FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return row is not None and bool(row["cancel"])


@dataclass(frozen=True)
class Return:
    """How a job goes back to the queue."""

    available: float | None
    """It is not leased before, nor for a time by the same backend; None leaves that as it was before."""
    lost: bool
    begun: bool
    """The time of the lease is none that the job has waited."""
    forgiven: bool = False
    """From now on only idle backends lease it."""


def requeue(db: sqlite3.Connection, job_id: str, fence: int, now: float, how: Return) -> bool:
    """Back to the queue, to the head of it. False when the lease is not the newest."""
    update = (
        "UPDATE jobs SET state = 'queued', orphaned = 0, available = coalesce(:available, available),"
        " losses = losses + :lost, give_up = give_up + :begun * (:now - leased), turn = min(turn, :turn),"
        " forgiven = max(forgiven, :forgiven)"
        " WHERE id = :id AND state = 'running' AND fence = :fence"
    )
    row = db.execute("SELECT priority FROM jobs WHERE id = ?", (job_id,)).fetchone()
    turn = _first_turn(db, row["priority"]) if row else 0
    return db.execute(update, {"id": job_id, "fence": fence, "now": now, "turn": turn} | asdict(how)).rowcount == 1


def cancel(
    db: sqlite3.Connection, job_id: str, held: bool, now: float, expires: float
) -> tuple[Cancellation, sqlite3.Row] | None:
    """Ends a job that waits, or whose holder is gone; marks one that is `held` or whose lease has not run out.

    Answers its state until now and when it was created, too.
    """
    row = db.execute("SELECT state, created, lease_until FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        return None
    if row["state"] == "running" and (held or row["lease_until"] > now):
        db.execute("UPDATE jobs SET cancel = 1 WHERE id = ?", (job_id,))
        return Cancellation.ASKED, row
    if row["state"] in ("fetching", "queued", "running"):
        end(db, job_id, Cancelled(), (), now, expires)
        return Cancellation.DONE, row
    return Cancellation.TOO_LATE, row


def renew(db: sqlite3.Connection, held: Mapping[str, int], until: float) -> dict[str, bool]:
    """Keeps leases (job id → fence); the answer is those that still stand, and whether they are to be cancelled."""
    update = "UPDATE jobs SET lease_until = ? WHERE id = ? AND fence = ? AND state = 'running' RETURNING cancel"
    kept = {}
    for job_id, fence in held.items():
        rows = db.execute(update, (until, job_id, fence)).fetchall()
        if rows:
            kept[job_id] = bool(rows[0]["cancel"])
    return kept


def begun(db: sqlite3.Connection, held: Mapping[str, int]) -> None:
    """The backends have begun these jobs (job id → fence)."""
    db.executemany("UPDATE jobs SET begun = 1 WHERE id = ? AND fence = ?", held.items())


def leave(db: sqlite3.Connection, job_id: str, fence: int, until: float) -> None:
    """The holder of this lease gives it up; until then the job belongs to the backend where it was."""
    update = "UPDATE jobs SET orphaned = 1, lease_until = ? WHERE id = ? AND state = 'running' AND fence = ?"
    db.execute(update, (until, job_id, fence))


def adopt(db: sqlite3.Connection, until: float) -> int:
    """Every lease's holder is gone; until then they belong to the backend of their name. How many there are."""
    return db.execute("UPDATE jobs SET orphaned = 1, lease_until = ? WHERE state = 'running'", (until,)).rowcount


def give_up_late(db: sqlite3.Connection, reason: Failed, now: float, expires: float) -> Sequence[str]:
    """Ends the jobs that waited longer than they may."""
    rows = db.execute("SELECT id FROM jobs WHERE state = 'queued' AND give_up <= ?", (now,)).fetchall()
    for row in rows:
        end(db, row["id"], reason, (), now, expires)
    return [row["id"] for row in rows]


def give_up_orphans(
    db: sqlite3.Connection, reason: Failed, held: Collection[str], now: float, expires: float
) -> Sequence[str]:
    """Ends the jobs whose lease has run out: those to be cancelled now, others when nobody has taken them up for as
    long as they might still have waited in the queue. `held` are those whose holder is known to live."""
    late = (
        "SELECT id, cancel FROM jobs WHERE state = 'running' AND lease_until <= :now"
        " AND (cancel OR give_up + lease_until - leased <= :now)"
        " AND id NOT IN (SELECT value FROM json_each(:held))"
    )
    rows = db.execute(late, {"now": now, "held": json.dumps(sorted(held))}).fetchall()
    for row in rows:
        end(db, row["id"], Cancelled() if row["cancel"] else reason, (), now, expires)
    return [row["id"] for row in rows]


def forget_expired(db: sqlite3.Connection, now: float) -> int:
    """Deletes the jobs whose image is gone, but for those whose webhook is still to be told."""
    return db.execute("DELETE FROM jobs WHERE expires <= ? AND hook_due IS NULL", (now,)).rowcount


def _next_turn(db: sqlite3.Connection, owner: str, priority: int) -> int:
    last = "SELECT max(turn) FROM jobs WHERE owner = ? AND priority = ? AND state = 'queued'"
    own = db.execute(last, (owner, priority)).fetchone()[0]
    # A newcomer's first turn is in the round that is being served, whatever others have piled up behind it.
    return max(_first_turn(db, priority), -1 if own is None else own + 1)


def _first_turn(db: sqlite3.Connection, priority: int) -> int:
    first = "SELECT turn FROM jobs WHERE state = 'queued' AND priority = ? ORDER BY turn LIMIT 1"
    row = db.execute(first, (priority,)).fetchone()
    return int(row[0]) if row else 0
