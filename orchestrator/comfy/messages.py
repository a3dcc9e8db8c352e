"""What a backend says on its websocket, one frozen type a kind. Pure.

Reading never raises: what is not known, or known but malformed, is `Unknown`. Knows nothing of jobs; the meaning of the
messages for a job is `execution`'s.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Status:
    """Broadcast to every socket on each change of the queue; `queue_remaining` counts running and waiting jobs."""

    queue_remaining: int


@dataclass(frozen=True)
class ExecutionStart:
    """The job has left the queue."""

    prompt_id: str


@dataclass(frozen=True)
class ExecutionCached:
    """These nodes will not run, their results are still there."""

    prompt_id: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Executing:
    """A node starts; `node` None is the job's end. Without a `prompt_id` it is a reconnect's echo, of no job."""

    prompt_id: str | None
    node: str | None


@dataclass(frozen=True)
class Progress:
    """Step `value` of `maximum` within one node."""

    prompt_id: str | None
    node: str | None
    value: float
    maximum: float


@dataclass(frozen=True)
class NodeProgress:
    """One node within a ProgressState; `state` is pending, running, finished or error."""

    node: str
    value: float
    maximum: float
    state: str


@dataclass(frozen=True)
class ProgressState:
    """Every node that has started so far."""

    prompt_id: str
    nodes: tuple[NodeProgress, ...]


@dataclass(frozen=True)
class Executed:
    """An output node is done. A job that was cached as a whole may skip it."""

    prompt_id: str
    node: str


@dataclass(frozen=True)
class ExecutionSuccess:
    """All nodes are done; the history is *not yet* written."""

    prompt_id: str


@dataclass(frozen=True)
class ExecutionError:
    """A node raised `exception_type`."""

    prompt_id: str
    node_id: str
    node_type: str
    exception_type: str
    exception_message: str


@dataclass(frozen=True)
class ExecutionInterrupted:
    """Somebody interrupted the job in this node."""

    prompt_id: str
    node_id: str
    node_type: str


@dataclass(frozen=True)
class PreviewFrame:
    """A picture in a binary frame: a preview, or a SaveImageWebsocket node's output. `format` is jpeg or png.

    Servers that know our features say whose it is and which node's; others leave that open.
    """

    format: str
    data: bytes
    prompt_id: str | None = None
    node: str | None = None


@dataclass(frozen=True)
class Unknown:
    """Something that this version does not know; `kind` is its type, or empty."""

    kind: str = ""


Message: TypeAlias = (
    Status
    | ExecutionStart
    | ExecutionCached
    | Executing
    | Progress
    | ProgressState
    | Executed
    | ExecutionSuccess
    | ExecutionError
    | ExecutionInterrupted
    | Unknown
)

_PREVIEW_EVENT, _DESCRIBED_PREVIEW_EVENT = 1, 4
_FORMATS = {1: "jpeg", 2: "png"}
_MIME_TYPES = {"image/jpeg": "jpeg", "image/png": "png"}
_LARGEST_METADATA = 65_536
FEATURES = {"supports_preview_metadata": True}
"""What we say of ourselves when a socket opens, so that previews come with their job's id."""


def parse_message(text: str) -> Message:
    """One text frame as a message."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Unknown()
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
        return Unknown()
    data = value.get("data")
    return _typed(value["type"], data) if isinstance(data, Mapping) else Unknown(value["type"])


def message_of(kind: str, data: Mapping[str, object]) -> Message:
    """A message from its type and data, as the `status.messages` of a history entry keep it."""
    return _typed(kind, data)


def parse_frame(data: bytes) -> PreviewFrame | Unknown:
    """One binary frame: 4 bytes event type and 4 bytes format, both big-endian, then the picture; or, of a preview with
    metadata, 4 bytes event type, 4 bytes length of a JSON object, that object, then the picture."""
    if len(data) < 8:
        return Unknown("binary")
    event, number = int.from_bytes(data[:4]), int.from_bytes(data[4:8])
    if event == _PREVIEW_EVENT and number in _FORMATS:
        return PreviewFrame(_FORMATS[number], data[8:])
    if event == _DESCRIBED_PREVIEW_EVENT and number <= min(_LARGEST_METADATA, len(data) - 8):
        return _described(data[8 : 8 + number], data[8 + number :])
    return Unknown("binary")


def _described(metadata: bytes, picture: bytes) -> PreviewFrame | Unknown:
    try:
        said = _mapping(json.loads(metadata))
        picture_format = _MIME_TYPES[_text(said.get("image_type", "image/jpeg"))]
        return PreviewFrame(picture_format, picture, _text(said["prompt_id"]), _optional(said.get("node_id")))
    except (KeyError, TypeError, ValueError, RecursionError):
        return Unknown("binary")


def _typed(kind: str, data: Mapping[str, object]) -> Message:
    try:
        return _read(kind, data)
    except (KeyError, TypeError, ValueError, OverflowError):
        return Unknown(kind)


def _read(kind: str, data: Mapping[str, object]) -> Message:
    match kind:
        case "status":
            return Status(_queue_remaining(data))
        case "execution_start":
            return ExecutionStart(_text(data["prompt_id"]))
        case "execution_cached":
            return ExecutionCached(_text(data["prompt_id"]), tuple(_text(node) for node in _list(data["nodes"])))
        case "executing":
            return Executing(_optional(data.get("prompt_id")), _optional(data["node"]))
        case "progress":
            node, prompt_id = _optional(data.get("node")), _optional(data.get("prompt_id"))
            return Progress(prompt_id, node, _number(data["value"]), _number(data["max"]))
        case "progress_state":
            nodes = _mapping(data["nodes"])
            return ProgressState(_text(data["prompt_id"]), tuple(_node(key, node) for key, node in nodes.items()))
        case "executed":
            return Executed(_text(data["prompt_id"]), _text(data["node"]))
        case "execution_success":
            return ExecutionSuccess(_text(data["prompt_id"]))
    return _read_failure(kind, data)


def _read_failure(kind: str, data: Mapping[str, object]) -> Message:
    match kind:
        case "execution_error":
            return ExecutionError(
                _text(data["prompt_id"]),
                str(data.get("node_id") or ""),
                str(data.get("node_type") or ""),
                str(data.get("exception_type") or ""),
                str(data.get("exception_message") or ""),
            )
        case "execution_interrupted":
            node_id, node_type = str(data.get("node_id") or ""), str(data.get("node_type") or "")
            return ExecutionInterrupted(_text(data["prompt_id"]), node_id, node_type)
    return Unknown(kind)


def _node(key: str, value: object) -> NodeProgress:
    node = _mapping(value)
    return NodeProgress(key, _number(node["value"]), _number(node["max"]), _text(node["state"]))


def _queue_remaining(data: Mapping[str, object]) -> int:
    return int(_number(_mapping(_mapping(data["status"])["exec_info"])["queue_remaining"]))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _optional(value: object) -> str | None:
    return None if value is None else _text(value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("not a number")  # Python's JSON knows Infinity and NaN
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise TypeError("not an object")
    return value
