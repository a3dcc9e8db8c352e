"""`orchestrator keys …`: API keys in the operator's hands, while services run or not.

A key is printed once, alone on the standard output, so that a script can take it from there.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from orchestrator.callers.caller import Limits, Right
from orchestrator.callers.keys import ApiKey
from orchestrator.errors import SettingsError
from orchestrator.parts import keys_of, webhook_signer
from orchestrator.settings import Settings

N = TypeVar("N", int, float)
Read = Callable[[argparse.Namespace], Settings]
"""The settings that the options name."""


def register(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", settings: Read
) -> Sequence[argparse.ArgumentParser]:
    """Adds `keys` and its commands; answers those that take the options of settings."""
    actions = commands.add_parser("keys", help="API keys: add, limit, list, replace, revoke").add_subparsers(
        required=True
    )
    add = actions.add_parser("add", help="make a key and show it, once")
    add.add_argument("name", help="what logs, metrics and these commands call its holder")
    add.add_argument(
        "--may",
        nargs="+",
        action="extend",
        default=[],
        choices=("publish", "operate"),
        help="rights besides running widgets",
    )
    add.add_argument("--no-run", action="store_true", help="a key that runs nothing, such as one that only watches")
    limit = actions.add_parser("limit", help="change limits of a key, those that are given; `none` takes one away")
    limit.add_argument("name")
    for command in (add, limit):
        _add_limits(command)
    limit.set_defaults(run=lambda options: _limit(options, settings(options).data))
    add.set_defaults(run=lambda options: _add(options, settings(options).data))
    listing = actions.add_parser("list", help="the keys that there are, without the keys themselves")
    listing.set_defaults(run=lambda options: _list(settings(options).data))
    made = [add, limit, listing]
    for name, text, run in (
        ("replace", "another key for the same holder; the old one is void at once", _replace),
        ("revoke", "the key is void at once", _revoke),
    ):
        command = actions.add_parser(name, help=text)
        command.add_argument("name")
        command.set_defaults(run=lambda options, run=run: run(options, settings(options).data))
        made.append(command)
    secret = actions.add_parser("webhook-secret", help="what the holder of a key verifies webhooks with")
    secret.add_argument("name", nargs="?", help="without, the secret for callers that need no key")
    secret.set_defaults(run=lambda options: _webhook_secret(options, settings(options)))
    return [*made, secret]


def _webhook_secret(options: argparse.Namespace, settings: Settings) -> int:
    found = [key.id for key in keys_of(settings.data).listed() if key.name == options.name]
    if options.name is not None and not found:
        raise SettingsError(f"There is no key {options.name!r}; `orchestrator keys list` names those that there are")
    print(webhook_signer(settings).secret(found[0] if found else ""))
    return 0


def _add_limits(command: argparse.ArgumentParser) -> None:
    command.add_argument("--rate", help="runs that may be asked for in a minute")
    command.add_argument("--jobs", help="jobs that have not ended, at once")
    command.add_argument("--megapixels", help="largest picture to be painted, in 10^6 pixels")
    command.add_argument("--steps", help="most sampling steps of a job")
    command.add_argument(
        "--priority", choices=("high", "normal", "low"), help="the highest that it may ask for (normal)"
    )


def _limits(options: argparse.Namespace, before: Limits) -> Limits:
    """Those before, but for what the options say. Raises SettingsError."""
    priority = options.priority or before.priority
    return Limits(
        _number("rate", options.rate, int, before.rate),
        _number("jobs", options.jobs, int, before.jobs),
        _number("megapixels", options.megapixels, float, before.megapixels),
        _number("steps", options.steps, int, before.steps),
        priority,
    )


def _number(name: str, given: str | None, kind: Callable[[str], N], before: N | None) -> N | None:
    if given is None:
        return before
    if given == "none":
        return None
    try:
        value = kind(given)
    except ValueError:
        value = kind("0")
    if not 0 < value < math.inf:
        raise SettingsError(f"--{name} must be a number above 0, or none; it is {given!r}")
    return value


def _add(options: argparse.Namespace, data: Path) -> int:
    rights = frozenset(map(Right, options.may)) | (frozenset() if options.no_run else {Right.RUN})
    _show(keys_of(data).add(options.name, rights, _limits(options, Limits())))
    return 0


def _limit(options: argparse.Namespace, data: Path) -> int:
    print(_line(keys_of(data).limit(options.name, lambda before: _limits(options, before))))
    return 0


def _list(data: Path) -> int:
    for key in keys_of(data).listed():
        print(_line(key))
    return 0


def _line(key: ApiKey) -> str:
    limits = key.limits
    told = (
        ("", limits.rate, " a minute"),
        ("", limits.jobs, " jobs at once"),
        ("", limits.megapixels, " megapixels"),
        ("", limits.steps, " steps"),
        ("up to ", limits.priority, " priority"),
    )
    bounds = ", ".join(f"{before}{value}{after}" for before, value, after in told if value is not None)
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(key.created))
    return f"{key.name:24} {made}  may {', '.join(sorted(key.rights)) or 'look'}; {bounds}"


def _replace(options: argparse.Namespace, data: Path) -> int:
    _show(keys_of(data).replace(options.name))
    return 0


def _revoke(options: argparse.Namespace, data: Path) -> int:
    keys_of(data).revoke(options.name)
    print(f"The key {options.name!r} is void; its running jobs go on.", file=sys.stderr)
    return 0


def _show(key: str) -> None:
    print(key)
    print(
        "Keep it now: it is not shown again. It is sent as `Authorization: Bearer …` or `X-API-Key: …`.",
        file=sys.stderr,
    )
