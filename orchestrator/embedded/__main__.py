"""`python -m orchestrator.embedded`: reads the arguments, serves until told to stop or until the parent is gone."""

import argparse
import asyncio
import logging
import os
import signal
from functools import partial
from pathlib import Path

from aiohttp import web

from orchestrator.embedded.backend import Backend
from orchestrator.embedded.engine import Setting
from orchestrator.embedded.folders import Folders

_log = logging.getLogger("orchestrator.embedded")

_PARENT_POLL_SECONDS = 1.0
_SHUTDOWN_SECONDS = 2.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m orchestrator.embedded", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--models", type=Path, required=True, help="folder with checkpoints/ and loras/")
    parser.add_argument(
        "--temp", type=Path, required=True, help="folder for input/, temp/ and output/ (made if missing)"
    )
    parser.add_argument("--user", type=Path, help="folder for what the editor keeps (default: user/ in --temp)")
    parser.add_argument("--workflows", type=Path, help="folder whose <name>/workflow.json the editor offers to open")
    parser.add_argument("--nodes", type=Path, help="folder of node packs")
    parser.add_argument("--threads", type=int, help="torch's threads (default: torch's own choice, all cores)")
    parser.add_argument("--demo-model", action="store_true", help="first write the demo model's files into --models")
    parser.add_argument("--parent-pid", type=int, help="stop when this process is gone")
    return parser.parse_args()


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def _watch_parent(pid: int, stop: asyncio.Event) -> None:
    """Sets `stop` when the process is gone; a child also notices a parent that is dead but not yet reaped."""
    child = os.getppid() == pid
    while _alive(pid) and (not child or os.getppid() == pid):  # noqa: ASYNC110 - processes raise no event
        await asyncio.sleep(_PARENT_POLL_SECONDS)
    _log.warning("Process %d is gone; stopping", pid)
    stop.set()


def _write_demo_model(models: Path) -> None:
    from orchestrator.demo_model.build import build  # imports torch, which is not to hold up the first answer

    build(models)


async def _serve(arguments: argparse.Namespace) -> int:
    loop, stop, broken = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def fail() -> None:
        loop.call_soon_threadsafe(broken.set)
        loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    first = partial(_write_demo_model, arguments.models) if arguments.demo_model else None
    folders = Folders(arguments.models, arguments.temp, arguments.user, arguments.workflows)
    setting = Setting(folders, arguments.nodes, arguments.threads, first)
    backend = Backend(setting, fail, loopback=_is_loopback(arguments.host))
    runner = web.AppRunner(backend.app, shutdown_timeout=_SHUTDOWN_SECONDS, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, arguments.host, arguments.port).start()
    _log.info("Listening on %s port %d", arguments.host, arguments.port)
    backend.start()
    watch = asyncio.create_task(_watch_parent(arguments.parent_pid, stop)) if arguments.parent_pid else None
    try:
        await stop.wait()
    finally:
        if watch is not None:
            watch.cancel()
        await backend.close()
        await runner.cleanup()
    return int(broken.is_set())


def main() -> None:
    """Runs the backend; ends at once even when a node still computes, as nothing it holds needs saving."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    code = asyncio.run(_serve(_arguments()))
    logging.shutdown()
    os._exit(code)


if __name__ == "__main__":
    main()
