"""One job's story, folded from messages, and its end, read from its history entry. Pure.

The history entry alone is the truth about the end; messages only tell progress. Knows nothing of sockets or HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.comfy import messages
from orchestrator.comfy.faults import InputRefused, failure, refuses_input
from orchestrator.comfy.graph import Graph
from orchestrator.errors import ExecutionFailed, JobInterrupted

_LONGEST_TEXT = 2000


@dataclass(frozen=True)
class Progress:
    """How far a job is: step `step` of `steps` in the node titled `node_title` (0 of 0 when it does not count)."""

    node_title: str
    step: int
    steps: int
    nodes_done: int
    nodes_total: int
    preview: bytes | None = field(default=None, repr=False)
    """A JPEG of what the picture looks like by now, where there is a newer one than was told before."""


@dataclass(frozen=True)
class ImageRef:
    """Where `GET /view` finds a picture; `type` is output, temp or input."""

    filename: str
    subfolder: str
    type: str


@dataclass(frozen=True)
class Succeeded:
    """The pictures that each output node left, by node id."""

    images: Mapping[str, tuple[ImageRef, ...]]


class Execution:
    """Folds the messages of one job into its progress."""

    def __init__(self, prompt_id: str, graph: Graph) -> None:
        self.prompt_id = prompt_id
        self._graph = graph
        self._done: set[str] = set()
        self._running: str | None = None
        self._step = (0, 0)

    @property
    def progress(self) -> Progress:
        """As of the last message."""
        node = self._graph.nodes.get(self._running) if self._running else None
        done = len(self._done & self._graph.nodes.keys())
        return Progress(node.title if node else "", *self._step, done, len(self._graph.nodes))

    def fold(self, message: messages.Message) -> bool:
        """Takes one message; True when the progress changed. Messages of other jobs, or of none, change nothing."""
        before = (self._running, self._step, len(self._done))
        match message:
            case messages.ExecutionCached(self.prompt_id, nodes):
                self._done.update(nodes)
            case messages.Executing(self.prompt_id, node):
                self._enter(node)
            case messages.Progress(self.prompt_id, node, value, maximum):
                self._count(node, value, maximum)
            case messages.ProgressState(self.prompt_id, nodes):
                self._done.update(node.node for node in nodes if node.state == "finished")
            case messages.Executed(self.prompt_id, node):
                self._done.add(node)
            case _:
                return False
        return before != (self._running, self._step, len(self._done))

    def outcome(self, entry: object) -> Succeeded:
        """How the job ended, from its history entry (decoded JSON).

        Raises ExecutionFailed, OutOfMemory, DeviceFault or InputRefused naming node title, class and text, or
        JobInterrupted.
        """
        status = entry.get("status") if isinstance(entry, Mapping) else None
        if not isinstance(entry, Mapping) or not isinstance(status, Mapping):
            raise ExecutionFailed("The backend's record of the job cannot be read")
        for message in _kept_messages(status.get("messages")):
            match message:
                case messages.ExecutionInterrupted(_, node_id, node_type):
                    raise JobInterrupted(f"The job was interrupted at the backend in {self._name(node_id, node_type)}")
                case messages.ExecutionError(_, node_id, node_type, kind, text):
                    what = f"{self._name(node_id, node_type)}: {kind}: {text.strip()}"
                    if refuses_input(kind):
                        raise InputRefused(node_id, text.strip()[:_LONGEST_TEXT], what[:_LONGEST_TEXT])
                    raise failure(kind, text, what[:_LONGEST_TEXT])
        if status.get("status_str") != "success":
            raise ExecutionFailed("The backend says that the job failed, and not why")
        return Succeeded(images_of(entry))

    def _enter(self, node: str | None) -> None:
        if self._running and self._running != node:
            self._done.add(self._running)
        self._running, self._step = node, (0, 0)

    def _count(self, node: str | None, value: float, maximum: float) -> None:
        if node is not None and node != self._running:
            self._enter(node)
        self._step = (int(value), int(maximum))

    def _name(self, node_id: str, node_type: str) -> str:
        return node_name(self._graph, node_id, node_type)


def node_name(graph: Graph, node_id: str, class_type: str) -> str:
    """A node as its artist knows it, `"Sampler" (KSamplerAdvanced)`; one outside the graph goes by class and id."""
    node = graph.nodes.get(node_id)
    return f'"{node.title}" ({node.class_type})' if node else f"{class_type or 'a node'} (node {node_id})"


def _kept_messages(value: object) -> list[messages.Message]:
    kept = value if isinstance(value, list) else []
    pairs = (item for item in kept if isinstance(item, list) and len(item) == 2)
    return [messages.message_of(str(kind), data) for kind, data in pairs if isinstance(data, Mapping)]


def images_of(entry: object) -> dict[str, tuple[ImageRef, ...]]:
    """The pictures that a history entry lists, by the id of the node that left them, however the job ended."""
    outputs = entry.get("outputs") if isinstance(entry, Mapping) else None
    if not isinstance(outputs, Mapping):
        return {}
    found = {str(node_id): _node_images(output) for node_id, output in outputs.items()}
    return {node_id: images for node_id, images in found.items() if images}


def _node_images(output: object) -> tuple[ImageRef, ...]:
    listed = output.get("images") if isinstance(output, Mapping) else None
    return tuple(
        ImageRef(item["filename"], str(item.get("subfolder") or ""), str(item.get("type") or "output"))
        for item in (listed if isinstance(listed, list) else [])
        if isinstance(item, Mapping) and isinstance(item.get("filename"), str)
    )
