"""`orchestrator check`: whether settings and what they name, workflows and backends will do, and what to mend.

Exit status 0 when jobs can run, 1 when something keeps them from it, 2 when the service would not start.
"""

import argparse
import asyncio
import importlib.util
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from orchestrator.app import load_widgets
from orchestrator.backends import managed_setup, remote_client
from orchestrator.comfy.inspection import Report, inspect
from orchestrator.comfy.installation import Installation
from orchestrator.comfy.known import KNOWN_VERSION
from orchestrator.errors import SettingsError
from orchestrator.parts import load_model_names, require_usable, shelf_of
from orchestrator.settings import ManagedBackend, RemoteBackend, Settings
from orchestrator.widgets.widget import Widget

_PROBE = "import aiohttp, torch; print(torch.__version__, torch.cuda.device_count())"
_PROBE_SECONDS = 120.0


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Prints what was found. Raises SettingsError, StorageError and WorkflowError for what stops the start."""
    widgets = load_widgets(settings)
    require_usable(settings)
    for sentence in load_model_names(settings).missing(shelf_of(settings).root):
        print(f"warning: models.yaml: {sentence}", file=sys.stderr)
    print(f"settings and {len(widgets)} workflows can be used: {', '.join(widgets)}")
    reports = _managed_ones(settings) if options.offline else _reports(settings, widgets)
    for name, report in reports.items():
        print(f"{name}: {report.about}")
        for remark in report.remarks:
            print(f"warning: {name}: {remark}", file=sys.stderr)
        for fault in report.faults:
            print(f"error: {name}: {fault}", file=sys.stderr)
    return 1 if any(report.faults for report in reports.values()) else 0


def _reports(settings: Settings, widgets: Mapping[str, Widget]) -> dict[str, Report]:
    if not settings.backends:
        return {"embedded": _embedded()}
    remote = [backend for backend in settings.backends if isinstance(backend, RemoteBackend)]
    with _silent_log():
        asked = asyncio.run(_ask(settings, remote, widgets))
    reports = asked | _managed_ones(settings)
    return {backend.called: reports[backend.called] for backend in settings.backends}


def _managed_ones(settings: Settings) -> dict[str, Report]:
    """What can be said on this machine alone."""
    managed = [backend for backend in settings.backends if isinstance(backend, ManagedBackend)]
    return {backend.called: _managed(settings, backend) for backend in managed}


@contextmanager
def _silent_log() -> Iterator[None]:
    """What the command prints is the answer; a connection that fails is told there, with the mend."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        root.setLevel(level)


async def _ask(settings: Settings, backends: list[RemoteBackend], widgets: Mapping[str, Widget]) -> dict[str, Report]:
    classes = {name: widget.graph.classes for name, widget in widgets.items()}
    shelf = shelf_of(settings)
    names = [entry.place.backend_name for entry in shelf.listed() if entry.place.kind == "checkpoint"]

    async def ask(backend: RemoteBackend) -> Report:
        async with remote_client(backend) as client:
            return await inspect(client, classes, names, str(shelf.root))

    reports = await asyncio.gather(*(ask(backend) for backend in backends))
    return {backend.called: report for backend, report in zip(backends, reports, strict=True)}


def _managed(settings: Settings, backend: ManagedBackend) -> Report:
    try:
        installation = managed_setup(settings, backend).installation
    except SettingsError as error:
        return Report("cannot be started", (error.detail,))
    about = f"ComfyUI {installation.version or '?'} in {installation.folder}, run by {installation.python}"
    known = installation.version == KNOWN_VERSION
    remark = f"it is ComfyUI {installation.version or '?'}; workflows are audited against {KNOWN_VERSION}"
    remarks = [] if known else [remark]
    if backend.port and _is_taken(backend.port):
        remarks.append(f"somebody listens on port {backend.port}: a service that runs already, or change `port`")
    return Report(about, _faults_of(installation, backend), tuple(remarks))


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _faults_of(installation: Installation, backend: ManagedBackend) -> tuple[str, ...]:
    """Whether its Python can run it at all, and sees the device; nothing is started."""
    command = [str(installation.python), "-c", _PROBE]
    try:
        probe = subprocess.run(  # noqa: S603 - the operator's own Python
            command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return (f"{installation.python} cannot be run: {error}; set `python`",)
    if probe.returncode != 0:
        last = (probe.stderr.strip().splitlines() or ["no reason given"])[-1]
        mend = f"{installation.python} -m pip install -r {installation.folder / 'requirements.txt'}"
        return (f"its Python lacks what ComfyUI needs ({last}): run {mend}",)
    devices = int(probe.stdout.split()[-1])
    if isinstance(backend.device, int) and backend.device >= devices:
        return (
            f"device {backend.device} is set and PyTorch sees {devices} CUDA devices: mend `device`, or the driver",
        )
    return ()


def _embedded() -> Report:
    lacks = [name for name in ("torch", "safetensors", "transformers") if importlib.util.find_spec(name) is None]
    if lacks:
        return Report(
            "cannot be started",
            (f"no backend is configured, and the embedded one lacks {', '.join(lacks)}: pip install '.[embedded]'",),
        )
    return Report("no backend is configured: the embedded one samples on the CPU")
