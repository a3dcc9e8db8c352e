"""Civitai's answers as frozen facts. Pure, and lenient: what is missing or of another type counts as not said.

Shapes are those of `GET /api/v1/model-versions/{id}` and `GET /api/v1/models/{id}`. Knows nothing of how they came.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.models.reference import Kind

_KIB = 1024
_LARGEST_ID = 2**53
"""JSON's numbers are whole up to here."""
_KIND_OF_TYPE: Mapping[str, Kind] = {"checkpoint": "checkpoint", "lora": "lora", "locon": "lora", "dora": "lora"}


class Unreadable(ValueError):
    """The answer is not what Civitai's API gives; the message says what is missing."""


@dataclass(frozen=True)
class VersionFile:
    """One file of a version. Words are Civitai's own, in lower case; "" is what was not said."""

    id: int
    name: str
    type: str
    """Such as `model`, `pruned model`, `vae`, `training data`."""
    format: str
    """`safetensor`, `pickletensor`, … ; told by the name's ending where it was not said."""
    size: str
    """`full` or `pruned`."""
    precision: str
    """`fp16`, `fp32`, `bf16`, …"""
    primary: bool
    approximate_bytes: int | None
    """From a number of KiB; right to about 1 KiB."""
    sha256: str
    """Of the whole file, 64 lower-case hex digits."""
    tensor_sha256: str
    """Of what follows the safetensors header (Civitai's AutoV3): all 64 digits, or the first 12."""
    scans: tuple[tuple[str, str, str], ...]
    """Scanner, verdict in lower case, its message: ("virus", "danger", "…")."""


@dataclass(frozen=True)
class Version:
    """One version of a model."""

    id: int
    model_id: int | None
    title: str
    """Model's and version's name, for people."""
    type: str
    """The model's type as Civitai writes it, such as `Checkpoint` or `TextualInversion`; "" if not said."""
    base_model: str
    """As the author chose it, such as `SD 1.5` or `Pony`; an open set."""
    downloadable: bool
    """False if its creator lets it be used at Civitai alone."""
    removed: str
    """Why it has no files any more (`archived`, `takendown`), else ""."""
    trained_words: tuple[str, ...]
    files: tuple[VersionFile, ...]

    @property
    def kind(self) -> Kind | None:
        """What it can be used as here; None for other types."""
        return _KIND_OF_TYPE.get(self.type.lower())


@dataclass(frozen=True)
class ModelVersions:
    """A model's name and its versions (id, name), newest first."""

    name: str
    versions: tuple[tuple[int, str], ...]


def read_version(content: object) -> Version:
    """A version's facts. Raises Unreadable when not even its id is there."""
    said = _mapping(content)
    version_id = _integer(said.get("id"))
    if version_id is None:
        raise Unreadable("the answer holds no id of a version")
    model = _mapping(said.get("model"))
    title = " ".join(filter(None, (_text(model.get("name")), _text(said.get("name")))))
    mode = _text(model.get("mode")).lower()
    read = (_read_file(item) for item in _sequence(said.get("files")))
    return Version(
        id=version_id,
        model_id=_integer(said.get("modelId")),
        title=title or f"version {version_id}",
        type=_text(model.get("type")),
        base_model=_text(said.get("baseModel")),
        downloadable=_text(said.get("usageControl")).lower() in ("", "download"),
        removed=mode,
        trained_words=tuple(filter(None, map(_text, _sequence(said.get("trainedWords"))))),
        files=tuple(file for file in read if file is not None),
    )


def read_model_versions(content: object) -> ModelVersions:
    """A model's versions. Raises Unreadable when there is no list of them."""
    said = _mapping(content)
    if not isinstance(said.get("modelVersions"), list):
        raise Unreadable("the answer holds no list of versions")
    items = map(_mapping, _sequence(said.get("modelVersions")))
    numbered = ((_integer(item.get("id")), _text(item.get("name"))) for item in items)
    return ModelVersions(_text(said.get("name")), tuple((n, name) for n, name in numbered if n is not None))


def _read_file(item: object) -> VersionFile | None:
    said = _mapping(item)
    file_id = _integer(said.get("id"))
    if file_id is None:
        return None
    about, hashes = _mapping(said.get("metadata")), _mapping(said.get("hashes"))
    name, size_kib = _text(said.get("name")), said.get("sizeKB")
    known_size = isinstance(size_kib, int | float) and not isinstance(size_kib, bool) and 0 < size_kib < 1e12
    return VersionFile(
        id=file_id,
        name=name,
        type=_text(said.get("type")).lower(),
        format=_text(about.get("format")).lower() or _format_of(name),
        size=_text(about.get("size")).lower(),
        precision=_text(about.get("fp")).lower(),
        primary=said.get("primary") is True,
        approximate_bytes=round(float(str(size_kib)) * _KIB) if known_size else None,
        sha256=_hex(hashes.get("SHA256"), (64,)),
        tensor_sha256=_hex(hashes.get("AutoV3"), (12, 64)),
        scans=tuple(
            (scanner, _text(said.get(f"{scanner}ScanResult")).lower(), _text(said.get(f"{scanner}ScanMessage")))
            for scanner in ("pickle", "virus")
        ),
    )


def _format_of(name: str) -> str:
    ending = name.rpartition(".")[2].lower()
    return {"safetensors": "safetensor", "ckpt": "pickletensor", "pt": "pickletensor"}.get(ending, ending)


def _hex(value: object, lengths: Sequence[int]) -> str:
    text = _text(value).lower()
    return text if len(text) in lengths and set(text) <= set("0123456789abcdef") else ""


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _text(value: object) -> str:
    """Printable: a line of a log or of a terminal is what it looks like."""
    return "".join(c if c.isprintable() else " " for c in value[:500]) if isinstance(value, str) else ""


def _integer(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 12:
        return int(value)
    return value if type(value) is int and 0 < value <= _LARGEST_ID else None
