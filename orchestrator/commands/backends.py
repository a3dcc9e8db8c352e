"""`orchestrator backends`: what `GET /backends` of the running service says, as a table."""

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from orchestrator.settings import Settings

_SECONDS = 10.0
_KEY_VARIABLE = "ORCHESTRATOR_API_KEY"
_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - asked, not listened on


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Its options."""
    command.add_argument("--url", help="where the service answers (host and port of the settings)")
    command.add_argument("--key", help=f"an API key that may operate, where keys are needed (${_KEY_VARIABLE})")
    command.add_argument("--json", action="store_true", help="print the answer as it came")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Exit status 0 when all backends are ready, 1 when one is not or the service does not answer."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = options.url or f"http://{_ANY_HOST.get(settings.host, host)}:{settings.port}"
    key = options.key or os.environ.get(_KEY_VARIABLE, "")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(f"{url.rstrip('/')}/backends", headers=headers)  # noqa: S310 - the operator's URL
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            told = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            print(f"orchestrator: the service at {url} answers {error.code}: {_detail(error.read())}", file=sys.stderr)
        return 1
    except (urllib.error.URLError, OSError, ValueError) as error:
        print(f"orchestrator: no service answers at {url}: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(told, indent=2))
    else:
        for backend in told["backends"]:
            print("\n".join(_lines(backend)))
    return 0 if all(backend["state"] == "ready" for backend in told["backends"]) else 1


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, TypeError, KeyError):
        return body[:200].decode(errors="replace")


def _lines(backend: Mapping[str, Any]) -> list[str]:
    """One backend: a line of what it does, and one for each thing that is amiss."""
    jobs, devices = backend["jobs"], backend["devices"] or []
    parts = [
        f"{backend['name']:16} {backend['state']:11} {backend['kind']:8}",
        f"up {_duration(backend['uptime_seconds'])}",
        f"model {backend['model'] or '-'}",
        f"running {', '.join(backend['running']) or '-'}",
        f"queued {', '.join(backend['queued']) or '-'}",
        f"done {jobs['done']}, failed {jobs['failed']}, lost {jobs['lost']}",
        *(f"{device['name']} {_gigabytes(device)}" for device in devices),
    ]
    lines = ["  ".join(parts)]
    if backend["reason"]:
        lines.append(f"    not ready: {backend['reason']}")
    if backend["last_failure"]:
        lines.append(f"    newest failure: {backend['last_failure']}")
    for widget, classes in (backend["lacks"] or {}).items():
        lines.append(f"    cannot run {widget}: lacks {', '.join(classes)}")
    if backend["deletes_results"] is False:
        lines.append("    keeps results for ever: has not loaded the node pack orchestrator_results")
    return lines


def _gigabytes(device: Mapping[str, Any]) -> str:
    return f"{device['vram_free_bytes'] / 1e9:.1f} of {device['vram_total_bytes'] / 1e9:.1f} GB free"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, _ = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02} h" if hours else f"{minutes} min" if minutes else f"{int(seconds)} s"
