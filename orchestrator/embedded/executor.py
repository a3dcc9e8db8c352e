"""Runs one checked graph: what its output nodes need, in order, each step told to the client as ComfyUI tells it.

Knows the catalogue and the cache, neither sockets nor what nodes compute.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from orchestrator.embedded.caching import OutputCache, is_link, keys
from orchestrator.embedded.catalogue import Catalogue, NodeClass, Result, Runner
from orchestrator.embedded.folders import Folders
from orchestrator.embedded.foreign import Failed, Interrupted, attempt
from orchestrator.embedded.monitor import Look, Monitor
from orchestrator.embedded.prompts import Outcome, Prompt

Tell: TypeAlias = Callable[[str, Mapping[str, Any], str | None], None]
"""Sends a message of a kind to one client (None: to all)."""

Show: TypeAlias = Callable[[Look, Mapping[str, Any], str | None], None]
"""Offers a look at what a node makes, with that node's metadata, to one client."""


class _Progress:
    """How far each node is; every change goes to the client as the whole state."""

    def __init__(self, prompt: Prompt, tell: Tell) -> None:
        self._prompt = prompt
        self._tell = tell
        self._nodes: dict[str, dict[str, Any]] = {}

    def _set(self, node_id: str, value: float, maximum: float, state: str) -> None:
        self._nodes[node_id] = {
            "value": value,
            "max": maximum,
            "state": state,
            "node_id": node_id,
            "prompt_id": self._prompt.prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }
        told = {"prompt_id": self._prompt.prompt_id, "nodes": dict(self._nodes)}
        if self._prompt.client is not None:
            self._tell("progress_state", told, self._prompt.client)

    def start(self, node_id: str) -> None:
        self._set(node_id, 0.0, 1.0, "running")

    def step(self, node_id: str, done: int, total: int) -> None:
        self._set(node_id, done, total, "running")
        if self._prompt.client is not None:
            told = {"value": done, "max": total, "prompt_id": self._prompt.prompt_id, "node": node_id}
            self._tell("progress", told, self._prompt.client)

    def finish(self, node_id: str) -> None:
        maximum = self._nodes.get(node_id, {}).get("max", 1)
        self._set(node_id, maximum, maximum, "finished")


def _shown(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | bool | str) else str(value)


def _declared(graph: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """The graph without inputs that the classes do not declare: ComfyUI drops them, and validation looks at none, so
    that a link in one may lead nowhere."""
    found = {}
    for node_id, node in graph.items():
        kind = catalogue.get(node["class_type"])
        names = {spec.name for spec in kind.inputs() if spec.category != "hidden"} if kind else set()
        found[node_id] = {**node, "inputs": {name: value for name, value in node["inputs"].items() if name in names}}
    return found


class _Run:
    """One prompt from `execution_start` to its outcome."""

    def __init__(self, prompt: Prompt, executor: "Executor") -> None:
        self._prompt = prompt
        self._executor = executor
        self._progress = _Progress(prompt, executor.tell)
        self._messages: list[tuple[str, Mapping[str, Any]]] = []
        self._executed: list[str] = []
        self._keys: dict[str, str] = {}
        self._graph = _declared(prompt.graph, executor.catalogue)

    def _say(self, kind: str, everybody: bool = False, **facts: Any) -> None:
        """A message that is also kept in the history."""
        told = {"prompt_id": self._prompt.prompt_id, **facts, "timestamp": int(time.time() * 1000)}
        self._messages.append((kind, told))
        if self._prompt.client is not None or everybody:
            self._executor.tell(kind, told, self._prompt.client)

    def _tell(self, kind: str, **facts: Any) -> None:
        if self._prompt.client is not None:
            self._executor.tell(kind, {**facts, "prompt_id": self._prompt.prompt_id}, self._prompt.client)

    def go(self) -> Outcome:
        self._say("execution_start")
        self._keys = keys(self._graph, self._prompt.outputs, self._executor.catalogue)
        cache = self._executor.cache
        cache.keep(self._keys.values())
        self._executor.drop_stale(self._keys.values())
        self._say("execution_cached", nodes=[n for n in self._prompt.graph if self._result(n) is not None])
        completed = all(self._node(node_id) for node_id in self._needed())
        if completed:
            self._say("execution_success")
        shown = {node_id: r.ui for node_id in self._keys if (r := self._result(node_id)) is not None and r.ui}
        meta = {n: {"node_id": n, "display_node": n, "parent_node": None, "real_node_id": n} for n in shown}
        return Outcome(completed, self._messages, shown, meta)

    def _result(self, node_id: str) -> Result | None:
        return self._executor.cache.get(self._keys[node_id]) if node_id in self._keys else None

    def _needed(self) -> list[str]:
        """Nodes to visit: output nodes, and what is upstream of those that are not cached, in order."""
        needed: set[str] = set()

        def want(node_id: str) -> None:
            if node_id in needed:
                return
            needed.add(node_id)
            if self._result(node_id) is None:
                for value in self._graph[node_id]["inputs"].values():
                    if is_link(value) and self._result(value[0]) is None:
                        want(value[0])

        for output in self._prompt.outputs:
            want(output)
        return [node_id for node_id in self._keys if node_id in needed]

    def _node(self, node_id: str) -> bool:
        """Runs one node or shows what it gave before; False ends the run."""
        cached = self._result(node_id)
        if cached is not None:
            self._tell("executed", node=node_id, display_node=node_id, output=cached.ui)
            self._progress.finish(node_id)
            return True
        kind = self._executor.catalogue[self._prompt.graph[node_id]["class_type"]]
        self._progress.start(node_id)
        self._executor.now = (self._prompt.client, node_id)
        self._tell("executing", node=node_id, display_node=node_id)
        inputs = self._inputs(node_id, kind)
        try:
            result = self._call(node_id, kind, inputs)
        except Interrupted:
            self._say("execution_interrupted", True, node_id=node_id, node_type=kind.name, executed=self._executed)
            return False
        if isinstance(result, Failed):
            self._fail(node_id, kind, inputs, result)
            return False
        self._executor.cache.put(self._keys[node_id], result)
        if result.ui:
            self._tell("executed", node=node_id, display_node=node_id, output=result.ui)
        self._progress.finish(node_id)
        self._executed.append(node_id)
        return True

    def _call(self, node_id: str, kind: NodeClass, inputs: dict[str, Any]) -> Result | Failed:
        monitor = self._executor.monitor
        shown = {"node_id": node_id, "display_node_id": node_id, "parent_node_id": None, "real_node_id": node_id}
        shown["prompt_id"] = self._prompt.prompt_id
        monitor.listen(
            lambda done, total: self._progress.step(node_id, done, total),
            lambda look: self._executor.show(look, shown, self._prompt.client),
        )
        try:
            monitor.check()
            runner = attempt(self._executor.runner, node_id, kind)
            outcome: Result | Failed = runner if isinstance(runner, Failed) else attempt(runner, **inputs)
        finally:
            monitor.listen(None)
        return outcome

    def _fail(self, node_id: str, kind: NodeClass, inputs: Mapping[str, Any], failed: Failed) -> None:
        self._say(
            "execution_error",
            node_id=node_id,
            node_type=kind.name,
            executed=self._executed,
            exception_message=f"{failed.text}\n",
            exception_type=failed.kind,
            traceback=list(failed.trace),
            current_inputs={name: [_shown(value)] for name, value in inputs.items()},
            current_outputs=list(self._prompt.graph),
        )

    def _inputs(self, node_id: str, kind: NodeClass) -> dict[str, Any]:
        """What the node's runner is called with."""
        given = self._graph[node_id]["inputs"]
        hidden = {
            "PROMPT": self._prompt.graph,
            "EXTRA_PNGINFO": self._prompt.extra.get("extra_pnginfo"),
            "UNIQUE_ID": node_id,
        }
        inputs = {}
        for spec in kind.inputs():
            if spec.category == "hidden":
                inputs[spec.name] = hidden.get(str(spec.kind))
            elif spec.name in given:
                inputs[spec.name] = self._value(given[spec.name])
        return inputs

    def _value(self, given: Any) -> Any:
        if not is_link(given):
            return given
        source = self._result(given[0])
        return source.values[given[1]] if source is not None and given[1] < len(source.values) else None


class Executor:
    """Runs prompts one after another; keeps results and node objects of the last one."""

    def __init__(
        self, catalogue: Catalogue, monitor: Monitor, folders: Folders, tell: Tell, show: Show = lambda *_: None
    ) -> None:
        self.catalogue = catalogue
        self.monitor = monitor
        self.tell = tell
        self.show = show
        self.cache = OutputCache()
        self.now: tuple[str | None, str] | None = None
        self._folders = folders
        self._runners: dict[tuple[str, str], Runner] = {}

    def run(self, prompt: Prompt) -> Outcome:
        """Executes a prompt that the monitor knows of. Never raises for what a node does; that is in the outcome."""
        self._runners = {key: runner for key, runner in self._runners.items() if key[0] in prompt.graph}
        try:
            return _Run(prompt, self).go()
        finally:
            self.monitor.end()
            self.now = None

    def runner(self, node_id: str, kind: NodeClass) -> Runner:
        """The object that runs this node; the same one while the node stays in the prompts."""
        key = node_id, kind.name
        if key not in self._runners:
            self._runners[key] = kind.make()
        return self._runners[key]

    def drop_stale(self, cached: Any) -> None:
        """Forgets results whose temporary pictures have been swept away since."""
        for key in list(cached):
            result = self.cache.get(key)
            pictures = (result.ui or {}).get("images", ()) if result else ()
            if any(not self._exists(picture) for picture in pictures):
                self.cache.drop(key)

    def _exists(self, picture: Mapping[str, str]) -> bool:
        folder = self._folders.of(picture.get("type", "output"))
        return (folder / picture.get("subfolder", "") / picture["filename"]).is_file()

    def clear(self) -> None:
        """Forgets everything."""
        self.cache.clear()
        self._runners.clear()
