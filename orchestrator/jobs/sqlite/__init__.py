"""The engine for one machine: jobs in one SQLite file, claimed by one statement."""

from orchestrator.jobs.sqlite.dials import Dials
from orchestrator.jobs.sqlite.engine import SqliteEngine

__all__ = ["Dials", "SqliteEngine"]
