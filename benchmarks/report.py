"""One figure as one line of JSON."""

import json
import os
import platform


def figure(name: str, value: float, unit: str, n: int, **conditions: object) -> None:
    """Prints a figure, its unit, how many runs it comes from, and what it was measured under."""
    conditions = {
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        **conditions,
    }
    print(
        json.dumps({"name": name, "value": round(value, 3), "unit": unit, "n": n, "conditions": conditions}), flush=True
    )
