"""Who gets which job: the claim, and the return of jobs whose holder is gone. SQL on an open transaction.

A job that was lost, or not begun, goes for a time to another backend than the one that had it, where there is another.
One that was lost with a backend that was not known to have begun it is forgiven that, and never again taken ahead, to
wait at a backend for another: it begins at once, and counts as lost should its backend be lost again.
The rank: priority; then whether the backend has the model loaded, unless one of the front has been passed over for too
long; then turn, which goes round the owners; then age. The front is as many of the first in line as there are backends:
whom the next ones would go to if models counted for nothing.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from orchestrator.jobs.engine import Wanted
from orchestrator.jobs.job import Failed
from orchestrator.jobs.sqlite import records

_RUNNABLE = """
    state = 'queued' AND available <= :now AND give_up > :now AND needs IN (SELECT value FROM json_each(:needs))
    AND NOT (backend = :loser AND available > :now - :avoid) AND NOT (forgiven AND :ahead)
"""

_CLAIM = f"""
WITH head AS (
    SELECT id, priority FROM jobs WHERE {_RUNNABLE} ORDER BY priority, turn, created LIMIT 1
), due AS (
    SELECT id FROM (
        SELECT id, passed FROM jobs WHERE {_RUNNABLE} AND priority = (SELECT priority FROM head)
        ORDER BY turn, created LIMIT :front
    )
    WHERE passed <= :now - :affinity OR forgiven LIMIT 1
), warm AS (
    SELECT id FROM jobs
    WHERE {_RUNNABLE} AND model IN (SELECT value FROM json_each(:warm)) AND priority = (SELECT priority FROM head)
    ORDER BY turn, created LIMIT 1
)
UPDATE jobs
SET state = 'running', backend = :backend, fence = fence + 1, leased = :now, lease_until = :until, passed = NULL,
    begun = :begun
WHERE id = (
    SELECT coalesce((SELECT id FROM due), (SELECT id FROM warm), id) FROM head
)
RETURNING *
"""

_PASS_OVER = f"""
UPDATE jobs SET passed = :now
WHERE id IN (SELECT id FROM jobs WHERE {_RUNNABLE} ORDER BY priority, turn, created LIMIT :front)
    AND passed IS NULL AND (priority, turn, created) < (:priority, :turn, :created)
"""

_GONE = """
SELECT * FROM jobs
WHERE state = 'running' AND needs IN (SELECT value FROM json_each(:needs))
    AND (lease_until <= :now OR (orphaned AND backend = :backend))
    AND id NOT IN (SELECT value FROM json_each(:held))
ORDER BY backend = :backend DESC, priority, turn, created LIMIT 1
"""


@dataclass(frozen=True)
class Terms:
    """What claims are made under; seconds, and seconds since the epoch."""

    now: float
    lease: float
    affinity: float
    """How long a job of the front is passed over for jobs whose model is loaded."""
    kept: float
    """How long a job that has ended without an image is remembered."""
    avoid: float = 0.0
    """How long a job that was lost or not begun is kept from the backend that had it."""
    held: frozenset[str] = frozenset()
    """The jobs that this very process holds. Their holder lives, whatever the clock says: it may have been set."""


@dataclass(frozen=True)
class Offer:
    """One backend that waits for a job."""

    number: int
    backend: str
    wanted: Wanted
    since: float
    """When it began to wait."""


@dataclass(frozen=True)
class Grant:
    """A leased job, for the offer of that number."""

    offer: int
    row: sqlite3.Row
    spec: bytes
    taken_over: bool = False
    """From a holder that is gone."""
    resumed: bool = False
    """It was at this very backend."""


@dataclass(frozen=True)
class Matched:
    """What a round of claims gave: the leases, and the jobs that were given up as lost too often."""

    grants: Sequence[Grant]
    given_up: Sequence[str]


def match(db: sqlite3.Connection, offers: Sequence[Offer], backends: int, terms: Terms) -> Matched:
    """Gives the waiting backends what there is for them; `backends` is how many there are in all."""
    if not offers:
        return Matched((), ())
    if backends < 2:
        terms = replace(terms, avoid=0.0)
    capabilities = {int(row["id"]): frozenset(json.loads(row["classes"])) for row in db.execute("SELECT * FROM needs")}
    needs = {offer.number: _able(offer.wanted.can, capabilities) for offer in offers}
    given_up: list[str] = []
    grants: list[Grant] = []
    left = list(offers)
    for offer in offers:
        grant = _take_over(db, offer, needs[offer.number], terms, given_up)
        if grant is not None:
            grants.append(grant)
            left.remove(offer)
    idle = [offer for offer in left if not offer.wanted.ahead]
    while idle and (chosen := _best(db, idle, needs, terms)) is not None:
        grants.append(_claim(db, chosen, needs[chosen.number], terms, backends))
        idle.remove(chosen)
    for offer in (offer for offer in left if offer.wanted.ahead):
        # A job taken ahead is lost to a backend that becomes idle sooner: only where there is one for each.
        head = _head(db, needs[offer.number], terms, offer.backend)
        # Nothing is taken before one that waits for a backend to become idle.
        if records.queued(db) < backends or head is None or head["forgiven"]:
            continue
        grants.append(_claim(db, offer, needs[offer.number], terms, backends))
    return Matched(grants, given_up)


def _able(can: Callable[[frozenset[str]], bool], capabilities: dict[int, frozenset[str]]) -> str:
    return json.dumps([number for number, classes in capabilities.items() if can(classes)])


def _head(db: sqlite3.Connection, needs: str, terms: Terms, loser: str = "") -> sqlite3.Row | None:
    """The first in line, without what the backend `loser` has just lost."""
    line = f"SELECT * FROM jobs WHERE {_RUNNABLE} ORDER BY priority, turn, created LIMIT 1"
    values = {"now": terms.now, "needs": needs, "loser": loser, "avoid": terms.avoid, "ahead": False}
    row: sqlite3.Row | None = db.execute(line, values).fetchone()
    return row


def _best(db: sqlite3.Connection, idle: Sequence[Offer], needs: dict[int, str], terms: Terms) -> Offer | None:
    """Whose turn it is: of those who can run the first job, one with its model, else an empty one, else the idlest."""
    ids = {number for offer in idle for number in json.loads(needs[offer.number])}
    head = _head(db, json.dumps(sorted(ids)), terms)
    if head is None:
        return None
    able = [offer for offer in idle if head["needs"] in json.loads(needs[offer.number])]
    if head["available"] > terms.now - terms.avoid:
        able = [offer for offer in able if offer.backend != head["backend"]]
        if not able:  # it waits for a backend that is busy, and others need not wait for it
            return next((one for one in idle if _head(db, needs[one.number], terms, one.backend) is not None), None)
    return min(able, key=lambda offer: (head["model"] not in offer.wanted.warm, bool(offer.wanted.warm), offer.since))


def _claim(db: sqlite3.Connection, offer: Offer, needs: str, terms: Terms, backends: int) -> Grant:
    values = {
        "now": terms.now,
        "until": terms.now + terms.lease,
        "affinity": terms.affinity,
        "needs": needs,
        "warm": json.dumps(list(offer.wanted.warm)),
        "backend": offer.backend,
        "loser": offer.backend,
        "avoid": terms.avoid,
        "front": max(1, backends),
        # One that is taken ahead waits at the backend for the job before it; any other may begin in the next moment.
        "begun": not offer.wanted.ahead,
        "ahead": offer.wanted.ahead,
    }
    row = db.execute(_CLAIM, values).fetchall()[0]
    db.execute(_PASS_OVER, values | {"priority": row["priority"], "turn": row["turn"], "created": row["created"]})
    return Grant(offer.number, row, records.spec(db, row["id"]))


def _take_over(db: sqlite3.Connection, offer: Offer, needs: str, terms: Terms, given_up: list[str]) -> Grant | None:
    """A job whose holder is gone. One left here by a service that was restarted may still run, and is not lost yet."""
    while True:
        held = json.dumps(sorted(terms.held))
        values = {"now": terms.now, "needs": needs, "backend": offer.backend, "held": held}
        row = db.execute(_GONE, values).fetchone()
        if row is None:
            return None
        here = row["backend"] == offer.backend
        losses = row["losses"] + (0 if (here and row["orphaned"]) or not row["begun"] else 1)
        if losses > records.MOST_LOSSES:
            reason = Failed(code="backend_lost", detail=f"The job was lost {losses} times; it is not run again")
            records.end(db, row["id"], reason, (), terms.now, terms.now + terms.kept)
            given_up.append(row["id"])
            continue
        taken = db.execute(
            "UPDATE jobs SET fence = fence + 1, losses = ?, orphaned = 0, backend = ?, lease_until = ?, begun = ?"
            " WHERE id = ? RETURNING *",
            (losses, offer.backend, terms.now + terms.lease, row["begun"] if here else 1, row["id"]),
        ).fetchall()[0]
        return Grant(offer.number, taken, records.spec(db, row["id"]), taken_over=True, resumed=here)
