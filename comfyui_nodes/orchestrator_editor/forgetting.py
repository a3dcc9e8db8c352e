"""Which pictures a forgotten job leaves, and their deletion. Standard library alone; knows no server."""

import re
from pathlib import Path

FOLDER = "orchestrator/opened"
"""Below ComfyUI's folder of inputs; a picture is called `<job>-<number>.png`."""
_JOB = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def forget(body: object, inputs: Path) -> int:
    """Deletes the pictures of the jobs that the request names; gives the number of files deleted."""
    listed = body.get("jobs") if isinstance(body, dict) else None
    jobs = [job for job in listed if isinstance(job, str) and _JOB.fullmatch(job)] if isinstance(listed, list) else []
    files = [file for job in jobs for file in (inputs / FOLDER).glob(f"{job}-*.png")]
    for file in files:
        file.unlink(missing_ok=True)
    return len(files)
