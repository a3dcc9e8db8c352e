"""The engine for one machine: jobs in one SQLite file, claimed by one statement."""

from orchestrator.jobs.sqlite.engine import SqliteEngine
from orchestrator.jobs.sqlite.source import Dials

__all__ = ["Dials", "SqliteEngine"]
