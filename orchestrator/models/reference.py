"""What a caller means by the name of a model: a Civitai version, or a file of that name. Pure.

Forms: a bare version id (`64094`), an AIR (`urn:air:sd1:checkpoint:civitai:10028@64094`, with or without `urn:` and
`air:`, with `+fileId` and `.format`), anything else a name on the shelf. AIR's grammar is the one of Civitai's
specification; it writes `sd1` where others write `sd15`.
"""

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["checkpoint", "lora"]

LARGEST_ID = 2**31 - 1
"""Civitai's ids are 32 bit integers."""

_AIR = re.compile(
    r"(?:urn:)?(?:air:)?(?:(?P<ecosystem>[\w\-]+):)?(?:(?P<type>[\w\-]+):)?civitai:(?P<model>\d{1,18})"
    r"(?:@(?P<version>\d{1,18}))?(?:\+(?P<file>\d{1,18}))?(?:\.(?P<format>\w+))?",
    re.IGNORECASE | re.ASCII,
)
_LOOKS_LIKE_AIR = re.compile(r"(?:urn:)?air:|(?:.*:)?civitai:", re.IGNORECASE)
_KINDS: dict[str, Kind] = {
    "checkpoint": "checkpoint",
    "model": "checkpoint",
    "lora": "lora",
    "locon": "lora",
    "lycoris": "lora",
    "dora": "lora",
}


class BadReference(ValueError):
    """The name looks like an AIR and cannot be used; the message says why and what to write."""


@dataclass(frozen=True)
class CivitaiVersion:
    """A model version at Civitai, and the file of it if one was named."""

    version_id: int
    file_id: int | None = None
    model_id: int | None = None


@dataclass(frozen=True)
class LocalName:
    """A name that the shelf or the operator's list may know."""

    name: str


Reference: TypeAlias = CivitaiVersion | LocalName


def read_reference(name: str, kind: Kind) -> Reference:
    """What `name` means where a model of that kind is asked for. Raises BadReference."""
    name = name.strip()
    if name.isascii() and name.isdecimal() and 0 < int(name[:12]) <= LARGEST_ID and len(name) <= 10:
        return CivitaiVersion(int(name))
    if _LOOKS_LIKE_AIR.match(name):
        return _read_air(name, kind)
    return LocalName(name)


def _read_air(name: str, kind: Kind) -> CivitaiVersion:
    match = _AIR.fullmatch(name)
    if match is None:
        raise BadReference(
            f"{name[:100]!r} cannot be read as an AIR of Civitai; write it like urn:air:sd1:{kind}:civitai:10028@64094"
        )
    if match["version"] is None:
        raise BadReference(f"{name[:100]!r} names a model but no version of it; add @ and the version's id")
    said = (match["type"] or kind).lower()
    if _KINDS.get(said) != kind:
        raise BadReference(f"{name[:100]!r} is a {said}, and a {kind} is asked for here")
    if match["format"] and match["format"].lower() not in ("safetensor", "safetensors"):
        raise BadReference(f"{name[:100]!r} asks for the format {match['format']}; only safetensors files are loaded")
    version, model, file = (int(match[group]) if match[group] else None for group in ("version", "model", "file"))
    if version is None or not 0 < version <= LARGEST_ID:
        raise BadReference(f"{name[:100]!r} names no version that Civitai can have")
    return CivitaiVersion(version, file, model)
