"""One SQLite file and the one thread that touches it. Knows the schema, and nothing of what its rows mean.

WAL with synchronous=NORMAL: a commit waits for no disk (0.1 ms instead of 10), a killed process loses nothing, a power
cut may lose the last moments.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from orchestrator.errors import StorageError

T = TypeVar("T")

MIGRATIONS = (
    """
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        state TEXT NOT NULL DEFAULT 'queued',
        priority INTEGER NOT NULL,
        turn INTEGER NOT NULL,          -- among the jobs of one priority; each owner's jobs have turns of their own
        created REAL NOT NULL,          -- seconds since the epoch, as all times here
        give_up REAL NOT NULL,          -- when a queued job has waited too long
        available REAL NOT NULL,        -- not to be leased before
        passed REAL,                    -- since when it is first in the queue and others are preferred to it
        model TEXT NOT NULL,
        needs INTEGER NOT NULL REFERENCES needs (id),
        owner TEXT NOT NULL,
        backend TEXT NOT NULL DEFAULT '',
        fence INTEGER NOT NULL DEFAULT 0,   -- counts leases; only the newest may end the job
        losses INTEGER NOT NULL DEFAULT 0,
        leased REAL,
        lease_until REAL NOT NULL DEFAULT 0,
        orphaned INTEGER NOT NULL DEFAULT 0,    -- the process that leased it is gone; its backend may still run it
        cancel INTEGER NOT NULL DEFAULT 0,
        ended REAL,
        expires REAL,
        end TEXT,
        timings TEXT
    );
    CREATE INDEX jobs_in_line ON jobs (priority, turn, created) WHERE state = 'queued';
    CREATE INDEX jobs_by_model ON jobs (model, priority, turn, created) WHERE state = 'queued';
    CREATE INDEX jobs_by_owner ON jobs (owner, turn) WHERE state = 'queued';
    CREATE INDEX jobs_by_patience ON jobs (give_up) WHERE state = 'queued';
    CREATE INDEX jobs_at_work ON jobs (lease_until) WHERE state = 'running';
    CREATE INDEX jobs_kept ON jobs (expires) WHERE expires IS NOT NULL;
    -- Apart, so that a change of state does not write the whole graph again.
    CREATE TABLE specs (id TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE, spec BLOB NOT NULL);
    CREATE TABLE needs (id INTEGER PRIMARY KEY, classes TEXT NOT NULL UNIQUE);
    """,
    """
    -- When its models were there, if they had to be fetched first.
    ALTER TABLE jobs ADD COLUMN fetched REAL;
    CREATE INDEX jobs_fetching ON jobs (created) WHERE state = 'fetching';
    """,
    """
    CREATE INDEX jobs_unfinished ON jobs (owner) WHERE ended IS NULL;
    DROP INDEX jobs_by_owner;
    CREATE INDEX jobs_by_owner ON jobs (owner, priority, turn) WHERE state = 'queued';
    """,
    """
    ALTER TABLE jobs ADD COLUMN webhook TEXT NOT NULL DEFAULT '';
    -- When the webhook is to be told of the job's end.
    ALTER TABLE jobs ADD COLUMN hook_due REAL;
    ALTER TABLE jobs ADD COLUMN hook_state TEXT NOT NULL DEFAULT '';
    ALTER TABLE jobs ADD COLUMN hook_tries INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN hook_told TEXT NOT NULL DEFAULT '';
    CREATE INDEX jobs_to_tell ON jobs (hook_due) WHERE hook_due IS NOT NULL;
    """,
    """
    -- 0 where the backend that has it is known not to have begun it.
    ALTER TABLE jobs ADD COLUMN begun INTEGER NOT NULL DEFAULT 1;
    """,
    """
    -- 1 once its backend was lost before it was known to have begun it.
    ALTER TABLE jobs ADD COLUMN forgiven INTEGER NOT NULL DEFAULT 0;
    """,
)
"""Each takes a file from the version of its number to the next; never changed once released."""


def require_readable(path: Path) -> None:
    """Raises StorageError for a job file that this service could not open; changes nothing, unlike opening it."""
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            _require_known(connection)
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except (sqlite3.Error, OSError) as error:
        raise StorageError(f"The job file {path} cannot be used: {error}") from error


class Database:
    """The file, from `async with` to its end. Several processes may have it open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._executor: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        try:
            await asyncio.wrap_future(self._executor.submit(self._open))
        except (sqlite3.Error, OSError) as error:
            self._executor.shutdown()
            raise StorageError(f"The job file {self._path} cannot be used: {error}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            await asyncio.wrap_future(executor.submit(self._close))
            executor.shutdown()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` makes of the file, in one transaction of its own. Raises StorageError.

        Done to the end even when whoever waits for it is cancelled.
        """
        if self._executor is None:
            raise StorageError("The job file is not open")
        try:
            return await asyncio.shield(asyncio.wrap_future(self._executor.submit(self._transact, work)))
        except sqlite3.Error as error:
            raise StorageError(f"The job file {self._path} failed: {error}") from error

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # It holds prompts and the addresses of webhooks; SQLite gives the files beside it the mode of this one.
        self._path.touch(mode=0o600)
        for end in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                self._path.with_name(self._path.name + end).chmod(0o600)
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=10)
        connection.row_factory = sqlite3.Row
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")
        self._connection = connection
        self._transact(_migrate)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection
        assert connection is not None, "Database is used outside its `async with`"
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result


def _require_known(connection: sqlite3.Connection) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise sqlite3.DatabaseError(f"it was made by a newer version of this service ({version})")
    return version


def _migrate(connection: sqlite3.Connection) -> None:
    version = _require_known(connection)
    for number in range(version, len(MIGRATIONS)):
        for statement in MIGRATIONS[number].split(";\n"):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
