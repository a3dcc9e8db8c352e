"""`orchestrator` as it is, and on SIGUSR1 the names of its tasks, one a line, in the file named by TASKS_FILE."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from orchestrator.cli import main


def _write_tasks(*_: object) -> None:
    # Handlers of Python run in the main thread between two steps of the loop's code, where the loop is the running one.
    names = sorted(task.get_name() for task in asyncio.all_tasks(asyncio.get_running_loop()))
    file = Path(os.environ["TASKS_FILE"])
    part = file.with_suffix(".part")
    part.write_text("\n".join(names))
    part.rename(file)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _write_tasks)
    sys.exit(main())
