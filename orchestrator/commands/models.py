"""`orchestrator models list|get|pin|unpin|rm|verify`: the shelf in the operator's hands, while services run or not.

Each command gives the process's exit status; 1 means that something is not as it should be.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Sequence

from orchestrator.errors import ModelNotFound, StorageError
from orchestrator.models.shelf import Shelf, ShelfEntry
from orchestrator.models.speed import Progress
from orchestrator.parts import open_models, shelf_of
from orchestrator.settings import Settings

_FAMILIES = ("sd15", "sdxl")


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> Sequence[argparse.ArgumentParser]:
    """Adds the commands; each sets `shelf`, to be called with the settings and the options."""
    listing = commands.add_parser("list", help="what is on the shelf, the last used first")
    listing.set_defaults(shelf=_list)
    get = commands.add_parser("get", help="fetch a model as a request would")
    get.add_argument("name", help="Civitai version id, AIR or a name from models.yaml")
    get.add_argument("--lora", metavar="CHECKPOINT", help="it is a LoRA, for this checkpoint")
    get.set_defaults(shelf=_get)
    verify = commands.add_parser("verify", help="read files whole and say what is damaged")
    verify.add_argument("names", nargs="*", help="as `list` shows them; all if none is given")
    verify.add_argument(
        "--repair", action="store_true", help="take fetched files that are damaged away, so that they are fetched anew"
    )
    verify.set_defaults(shelf=_verify)
    made = [listing, get, verify]
    for name, text, run in (
        ("pin", "keep models whatever the budget says", _pin),
        ("unpin", "let models go again when room is needed", _unpin),
        ("rm", "delete models that no job uses", _remove),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("names", nargs="+", help="as `list` shows them, or the Civitai version id")
        command.set_defaults(shelf=run)
        made.append(command)
    return made


def _list(settings: Settings, _options: argparse.Namespace) -> int:
    shelf = shelf_of(settings)
    entries = shelf.listed()
    for entry in entries:
        origin = entry.origin
        marks = "".join(
            (" pinned" * entry.kept, " in-use" * entry.in_use, "" if shelf.is_whole(entry.place) else " damaged")
        )
        about = "put there by hand"
        if origin:
            predicts = "" if origin.prediction in ("", "eps") else f", {origin.prediction} prediction"
            about = f"{origin.title} ({origin.family}{predicts}; {origin.base_model or 'no base model told'})"
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used_at))
        size = f"{entry.size / 1e9:7.2f} GB"
        _print(f"{entry.place.kind:10} {entry.place.stem:32} {size}  {used}  {about}{marks}")
    for stem, there, total in shelf.partial():
        _print(f"{'partial':10} {stem:32} {there / 1e9:7.2f} of {total / 1e9:.2f} GB")
    aside = shelf.aside()
    for item in aside:
        _print(f"{'damaged':10} {item.place.stem:32} {item.size / 1e9:7.2f} GB  set aside as {item.place.damaged}")
    fetched = sum(entry.size for entry in entries if entry.origin) + sum(item.size for item in aside)
    print(f"{fetched / 1e9:.2f} of {settings.shelf_gb:g} GB are used by fetched models")
    return 0


def _get(settings: Settings, options: argparse.Namespace) -> int:
    async def get() -> None:
        async with open_models(settings) as finder:
            files = [await finder.checkpoint(options.lora or options.name, "model", _FAMILIES)]
            if options.lora:
                files = [await finder.lora(options.name, "lora", files[0])]
            async with finder.hold(files, _progress_line()):
                _print(f"{files[0].family} {files[0].place.file}")

    asyncio.run(get())
    return 0


def _progress_line() -> Callable[[Progress], None]:
    """Tells progress on the terminal once a second, and only there."""
    told_at = 0.0

    def tell(progress: Progress) -> None:
        nonlocal told_at
        if time.monotonic() - told_at < 1.0:
            return
        told_at = time.monotonic()
        left = "" if progress.seconds_left is None else f", {progress.seconds_left:.0f} s left"
        share = 100 * progress.received / max(1, progress.total)
        print(f"{share:3.0f} % of {progress.model}, {progress.rate / 1e6:.1f} MB/s{left}", file=sys.stderr, flush=True)

    return tell


def _verify(settings: Settings, options: argparse.Namespace) -> int:
    shelf, bad = shelf_of(settings), 0
    chosen = _chosen(shelf, options.names) if options.names else shelf.listed()
    for entry in chosen:
        fault = shelf.verify(entry.place)
        _print(f"{entry.place.stem}: {fault or 'good'}")
        if fault is not None:
            bad += 1
            if options.repair:
                _print(f"{entry.place.stem}: {_repaired(shelf, entry)}")
    return 1 if bad else 0


def _repaired(shelf: Shelf, entry: ShelfEntry) -> str:
    """Sets a damaged file aside, if it may go; says what was done."""
    if entry.origin is None:
        return "it was put there by hand and cannot be fetched anew; replace it or delete it (rm)"
    try:
        shelf.set_aside(entry.place)
    except StorageError as error:
        return f"skipped: {error.detail}"
    return f"set aside as {entry.place.damaged}"


def _pin(settings: Settings, options: argparse.Namespace) -> int:
    shelf = shelf_of(settings)
    for entry in _chosen(shelf, options.names):
        shelf.keep(entry.place, True)
    return 0


def _unpin(settings: Settings, options: argparse.Namespace) -> int:
    shelf = shelf_of(settings)
    for entry in _chosen(shelf, options.names):
        shelf.keep(entry.place, False)
    return 0


def _remove(settings: Settings, options: argparse.Namespace) -> int:
    shelf = shelf_of(settings)
    aside = [item for item in shelf.aside() if item.place.stem in options.names]
    gone = {item.place.stem for item in aside}
    listed = {entry.place.stem for entry in shelf.listed()}
    for entry in _chosen(shelf, [name for name in options.names if name not in gone or name in listed]):
        shelf.remove(entry.place)
    for item in aside:
        shelf.discard(item)
    return 0


def _print(line: str) -> None:
    """A line with what a terminal would take for a command, or cannot write, as escapes."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    encoding = sys.stdout.encoding or "utf-8"
    print(plain.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def _chosen(shelf: Shelf, names: Sequence[str]) -> list[ShelfEntry]:
    """The files of those names, all of them or none. Raises ModelNotFound."""
    listed = shelf.listed()
    chosen: list[ShelfEntry] = []
    for name in names:
        found = [entry for entry in listed if name in _names_of(entry)]
        if not found:
            near = ", ".join(shelf.near("checkpoint", name) + shelf.near("lora", name))
            raise ModelNotFound(f"There is no model {name!r} on the shelf; there are: {near or 'none'}")
        chosen += found
    return chosen


def _names_of(entry: ShelfEntry) -> tuple[str, ...]:
    stem = entry.place.stem
    return (stem, str(entry.origin.version_id)) if entry.origin else (stem,)
