"""The command line: `orchestrator serve`, `demo`, `check`, `backends`, `keys …`, `models …`, `workflows …`."""

import argparse
import asyncio
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from orchestrator.allocation import keep_freed_memory
from orchestrator.app import create_app
from orchestrator.commands import backends as backends_command
from orchestrator.commands import check as check_command
from orchestrator.commands import keys as key_commands
from orchestrator.commands import models as model_commands
from orchestrator.commands import run as run_command
from orchestrator.commands import workflows as workflow_commands
from orchestrator.demo import run as demo_run
from orchestrator.errors import OrchestratorError, SettingsError
from orchestrator.loading import load
from orchestrator.settings import Settings
from orchestrator.telemetry import logs

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the answer is the process's exit status."""
    options = _parser().parse_args(arguments)
    logs.configure("text")
    try:
        status = int(options.run(options))
        sys.stdout.flush()
        return status
    except OrchestratorError as error:
        print(f"orchestrator: {error.detail}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read it has seen enough, as `head` has; what is left would be tried again at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="orchestrator", description="Stable Diffusion widgets over HTTP, run by ComfyUI."
    )
    commands = parser.add_subparsers(required=True)
    serve = commands.add_parser("serve", help="answer requests until stopped")
    serve.add_argument("--host", help="address to listen on (127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on (8080); 0 takes a free one")
    serve.set_defaults(run=_serve)
    run_command.register(commands)
    show = commands.add_parser("demo", help="repaint a sample picture and show before, mask and after")
    show.add_argument("--output", type=Path, default=Path("demo/result.png"), help="where the picture goes")
    show.set_defaults(run=_demo)
    check = commands.add_parser("check", help="say whether settings, workflows and backends will do, and what to mend")
    check.add_argument("--offline", action="store_true", help="ask no backend; look at managed ones' folders alone")
    check.set_defaults(run=lambda options: check_command.run(_settings(options), options))
    backends = commands.add_parser("backends", help="what the running service says of its backends")
    backends_command.add_arguments(backends)
    backends.set_defaults(run=lambda options: backends_command.run(_settings(options), options))
    workflows = workflow_commands.register(commands, lambda options: _settings(options).workflows)
    keys = key_commands.register(commands, _settings)
    models = commands.add_parser("models", help="the models on the shelf: list, get, pin, unpin, rm, verify")
    shelf = model_commands.add_commands(models.add_subparsers(required=True))
    models.set_defaults(run=_models)
    for command in (serve, show, check, backends, *workflows, *keys, *shelf):
        command.add_argument("--config", type=Path, help="YAML file of settings")
        command.add_argument("--data", type=Path, help="folder for pictures and models")
    return parser


def _settings(options: argparse.Namespace, **overrides: object) -> Settings:
    return load(options.config, os.environ, data=options.data, **overrides)


def _serve(options: argparse.Namespace) -> int:
    settings = _settings(options, host=options.host, port=options.port)
    logs.configure(settings.log_format)
    keep_freed_memory()

    async def until_stopped() -> None:
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        async with _running(settings):
            await stopped.wait()
            log.info("stopping")

    asyncio.run(until_stopped())
    return 0


def _demo(options: argparse.Namespace) -> int:
    asked = _settings(options, host="127.0.0.1", port=0, api_keys="off", editor_port=0)
    settings = asked.model_copy(update={"data": demo_run.folder_of(asked.data), "public_url": ""})
    logging.getLogger().setLevel(logging.ERROR)  # the terminal belongs to the progress bar

    async def once() -> None:
        async with _running(settings) as url:
            await demo_run.run(url, options.output)

    asyncio.run(once())
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SettingsError where the machine has no such address, or somebody listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        # What create_server says of it names the address once more.
        why = os.strerror(error.errno) if error.errno else str(error)
        hint = "; --port or ORCHESTRATOR_PORT names another" if error.errno == errno.EADDRINUSE else ""
        raise SettingsError(f"Cannot listen on {host} port {port}: {why}{hint}") from error


def _models(options: argparse.Namespace) -> int:
    logging.getLogger().setLevel(logging.WARNING)  # what the command prints is the answer
    return int(options.shelf(_settings(options), options))


@asynccontextmanager
async def _running(settings: Settings) -> AsyncIterator[str]:
    """The service listening, with its address; stopped at the end."""
    with _listen(settings.host, settings.port) as listening:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        url = f"http://{host}:{listening.getsockname()[1]}"
        app = create_app(settings.model_copy(update={"public_url": settings.public_url or url}))
        # A compressed body is refused, so it is not unpacked either.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=5, auto_decompress=False)
        try:
            await runner.setup()
            await web.SockSite(runner, listening).start()
            log.info("listening on %s", url)
            yield url
        finally:
            await runner.cleanup()


if __name__ == "__main__":
    sys.exit(main())
