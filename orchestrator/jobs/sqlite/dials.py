"""How the SQLite engine is set."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dials:
    """How the engine behaves; seconds."""

    waiting_limit: int = 64
    """Jobs that may wait, for their models or for a backend."""
    kept: float = 4 * 3600.0
    """How long a job without an image is remembered; one with an image, as long as that."""
    affinity: float = 30.0
    """How long one of the first jobs in line, as many as there are backends, may be passed over for loaded models."""
    avoid: float = 20.0
    """How long a job that was lost or not begun waits for another backend than the one that had it, if there is one."""
    recall: float = 1.0
    """How long a job may wait at its backend before it is asked back for one that waits for work and has its model or
    none loaded; `affinity`, if that is longer, for one that has another. Twice as long each time that it was leased."""
    lease: float = 30.0
    """How long a job stays with a holder that gives no sign of life."""
    tick: float = 0.5
    """Between looks for what time has brought: late jobs, lost holders, delayed jobs, other processes."""
