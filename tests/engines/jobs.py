"""Jobs to try engines with; nothing looks into their graphs."""

import time
import uuid
from typing import Any

from orchestrator.jobs.engine import Wanted
from orchestrator.jobs.job import JobSpec


def spec(**more: Any) -> JobSpec:
    """A job for a checkpoint "a"; `more` overrides."""
    given: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "widget": "inpaint",
        "seed": 7,
        "graph": {"9": {"class_type": "A", "inputs": {"x": 1, "link": ["4", 0]}, "_meta": {"title": "Result"}}},
        "output_node": "9",
        "output_format": "jpeg",
        "model": "a",
        "classes": frozenset({"A"}),
        "created": time.time(),
        "deadline": 60.0,
        "patience": 60.0,
        "image": "i" * 32,
    }
    return JobSpec(**given | more)


def wants(*warm: str, has: frozenset[str] | None = None, ahead: bool = False) -> Wanted:
    """A backend with these models loaded; `has` are its node classes, all of them if None."""
    return Wanted(warm, lambda classes: has is None or classes <= has, ahead=ahead)
