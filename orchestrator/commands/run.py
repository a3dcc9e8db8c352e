"""`orchestrator run WIDGET --image … --prompt … -o out.png`: a job at a service, with a progress bar.

A caller like any other: it asks the service for the widget's parameters and makes its options of them, so it runs
every widget. Exit statuses: 0 the image is written, 1 the job failed or was cancelled, 2 the request cannot be used,
3 the service does not answer, 130 Ctrl-C (the job is cancelled).
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from orchestrator.client import (
    AsyncClient,
    Failed,
    Fetching,
    Job,
    ParameterDescription,
    Progress,
    Queued,
    Requeued,
    Running,
    Succeeded,
    Value,
    WidgetDescription,
)
from orchestrator.errors import (
    InvalidParameters,
    JobCancelled,
    JobEnded,
    KeyNeeded,
    ModelError,
    OrchestratorError,
    RequestError,
    ServiceUnreachable,
    StorageError,
)

URL, KEY = "ORCHESTRATOR_URL", "ORCHESTRATOR_API_KEY"
_FAILED, _REFUSED, _AWAY, _INTERRUPTED = 1, 2, 3, 130
_FILES = ("picture", "mask")
_CANCEL_SECONDS = 15.0


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `run`. What follows the widget's name is understood once the service has told its parameters."""
    # With another prefix nothing looks like an option here, so that all of it is left for `main`.
    run = commands.add_parser(
        "run", help="run a widget at a service and write its image", add_help=False, prefix_chars="\0"
    )
    run.add_argument("rest", nargs=argparse.REMAINDER)
    run.set_defaults(run=lambda options: main(options.rest))


def main(arguments: Sequence[str]) -> int:
    """Runs the command; its exit status."""
    parser = _parser(None)
    options, _ = parser.parse_known_args(arguments)
    if options.help and options.widget is None:
        parser.print_help()
        return 0
    try:
        return asyncio.run(_main(arguments, options))
    except OrchestratorError as error:
        _complain(error)
        return _status(error)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return _INTERRUPTED


async def _main(arguments: Sequence[str], options: argparse.Namespace) -> int:
    async with AsyncClient(options.url, api_key=options.api_key or None) as client:
        if options.widget is None:
            for entry in await client.widgets():
                print(f"{entry.name:20} {entry.title}: {entry.description}")
            return 0
        widget = await client.widget(options.widget)
        options = _parser(widget).parse_args(arguments)
        _require_place(options.output)
        job = await client.submit(widget.name, _values(widget, options), output_format=_format(options))
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, _task().cancel)
        try:
            await _follow(client, job)
            await _write(client, job, options.output)
        except asyncio.CancelledError:
            _task().uncancel()
            await _cancel(client, job)
            raise
    print(options.output)
    return 0


def _parser(widget: WidgetDescription | None) -> argparse.ArgumentParser:
    """Of the command; without a widget, of what can be known before the service is asked."""
    parser = argparse.ArgumentParser(
        prog=f"orchestrator run {widget.name if widget else 'WIDGET'}",
        description=widget.description if widget else "Runs a widget at a service and writes its image.",
        add_help=widget is not None,
        allow_abbrev=False,
    )
    parser.add_argument("widget", nargs="?" if widget is None else None, help="what to run; none lists what there is")
    parser.add_argument(
        "--url", default=os.environ.get(URL, "http://127.0.0.1:8080"), help=f"the service, or {URL} (%(default)s)"
    )
    parser.add_argument("--api-key", default=os.environ.get(KEY), help=f"where it asks for one; better in {KEY}")
    parser.add_argument("-o", "--output", type=Path, help="the image to write: .png, .jpg", required=widget is not None)
    if widget is None:
        text = "show this; behind a widget's name its parameters, too, which the service is asked for"
        parser.add_argument("-h", "--help", action="store_true", help=text)
        return parser
    parameters = parser.add_argument_group("parameters")
    for parameter in widget.parameters:
        _add_option(parameters, parameter)
    return parser


def _add_option(group: "argparse._ArgumentGroup", parameter: ParameterDescription) -> None:
    """An option without a default of its own: what is not given is the service's to fill in."""
    hints = [parameter.description]
    if parameter.minimum is not None and parameter.maximum is not None and parameter.kind != "seed":
        hints.append(f"{parameter.minimum:g} to {parameter.maximum:g}.")
    if parameter.kind == "choice":
        hints.append(f"{' or '.join(parameter.options)}.")
    if parameter.default is not None:
        hints.append(f"Default: {parameter.default}")
    group.add_argument(
        f"--{parameter.name.replace('_', '-')}",
        dest=f"parameter {parameter.name}",
        required=parameter.required,
        metavar="FILE" if parameter.kind in _FILES else parameter.kind.upper(),
        help=" ".join(hints).replace("%", "%%"),
    )


def _values(widget: WidgetDescription, options: argparse.Namespace) -> Mapping[str, Value]:
    given = {one: getattr(options, f"parameter {one.name}") for one in widget.parameters}
    return {one.name: _value(one, text) for one, text in given.items() if text is not None}


def _value(parameter: ParameterDescription, text: str) -> Value:
    """A picture is a file, unless it is an address."""
    is_address = text.startswith(("http://", "https://", "data:"))
    return Path(text) if parameter.kind in _FILES and not is_address else text


def _format(options: argparse.Namespace) -> Literal["png", "jpeg"]:
    match options.output.suffix.lower():
        case ".png":
            return "png"
        case ".jpg" | ".jpeg":
            return "jpeg"
    raise InvalidParameters(f"{options.output} must end in .png or .jpg, which says what is written")


def _require_place(output: Path) -> None:
    """Before any work is done for it. Raises InvalidParameters."""
    if output.is_dir() or not output.parent.is_dir():
        raise InvalidParameters(f"{output} cannot be written: give a file in a folder that is there")
    if not os.access(output if output.exists() else output.parent, os.W_OK):
        raise InvalidParameters(f"{output} cannot be written: it is not yours to write")


async def _write(client: AsyncClient, job: Job, output: Path) -> None:
    """Raises StorageError, which says where the image still is."""
    try:
        await client.download(job.id, output)
    except OSError as error:
        where = f"the image is to be had under the job's link for a while: {client.url}/jobs/{job.id}"
        raise StorageError(f"{output} cannot be written: {error.strerror}; {where}") from error


async def _follow(client: AsyncClient, job: Job) -> None:
    """A bar on the terminal until the job has succeeded. Raises the error that it ended with."""
    state: Progress | None = None
    with tqdm(unit="step", bar_format="{desc:<24.24} {bar} {n_fmt}/{total_fmt} {elapsed}", file=sys.stderr) as bar:
        async with aclosing(client.progress(job)) as progress:
            async for state in progress:
                _show(bar, state)
    if isinstance(state, Failed):
        raise state.error
    if not isinstance(state, Succeeded):
        raise JobCancelled


def _show(bar: "tqdm[Any]", state: Progress) -> None:
    match state:
        case Fetching(model=model, received_bytes=received, total_bytes=total):
            bar.desc, bar.n, bar.total = f"fetching {model}", received // 1_000_000, (total or 0) // 1_000_000
        case Queued(place=place):
            bar.desc = f"{place} jobs before yours" if place else "next in line"
        case Requeued(attempt=attempt):
            bar.desc = f"backend lost, run {attempt}"
        case Running(node=node, step=step, steps=steps):
            bar.desc = node or "starting"
            if steps > 1:
                bar.n, bar.total = step, steps
        case Succeeded():
            bar.desc, bar.n = "done", bar.total or bar.n
        case _:
            return
    bar.refresh()


async def _cancel(client: AsyncClient, job: Job) -> None:
    print("cancelling the job", file=sys.stderr)
    with suppress(JobEnded, TimeoutError):
        async with asyncio.timeout(_CANCEL_SECONDS):
            await client.cancel(job)


def _complain(error: OrchestratorError) -> None:
    print(f"orchestrator run: {error.detail}", file=sys.stderr)
    for complaint in error.fields:
        print(f"  --{complaint.field.replace('_', '-')} {complaint.message}", file=sys.stderr)
    if isinstance(error, KeyNeeded):
        print(f"  put it into the environment as {KEY}", file=sys.stderr)


def _status(error: OrchestratorError) -> int:
    if isinstance(error, ServiceUnreachable):
        return _AWAY
    if isinstance(error, RequestError | ModelError) and not isinstance(error, JobCancelled):
        return _REFUSED
    return _FAILED


def _task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None, "runs in a task"
    return task
