"""Server-sent events, read as they come. Knows the format and nothing of jobs."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp

from orchestrator.client.answers import Told

_LONGEST = 1 << 24
"""Bytes of one line: previews are pictures."""


@dataclass(frozen=True)
class Event:
    """One event with its id, its name and its decoded data."""

    id: str
    kind: str
    data: Told


async def read_events(content: aiohttp.StreamReader) -> AsyncIterator[Event]:
    """The events of a body until it ends. Raises ValueError for data that is no JSON object, and aiohttp's errors."""
    fields: dict[str, str] = {}
    async for line in _lines(content):
        name, colon, text = line.partition(":")
        if line == "":
            if "data" in fields:
                yield Event(fields.get("id", ""), fields.get("event", "message"), _object(fields["data"]))
            fields = {}
        elif name and colon:
            text = text.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{text}" if name == "data" and name in fields else text


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[str]:
    """Lines without their ends; a StreamReader's own lines are bounded to 64 KB."""
    rest = b""
    async for piece in content.iter_any():
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
        if len(rest) > _LONGEST:
            raise ValueError("an event is longer than any should be")


def _object(text: str) -> Told:
    told = json.loads(text)
    if not isinstance(told, dict):
        raise ValueError("an event's data is no JSON object")
    return told
