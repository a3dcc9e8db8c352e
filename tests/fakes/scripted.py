"""Jobs that a fake ComfyUI makes up: one at a time, so many seconds and steps each, always the same picture."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.engine import Json, Send, last_nodes, no_such_class, no_such_file
from tests.fakes.faults import Faults


@dataclass(eq=False)
class _Job:
    number: int
    prompt_id: str
    prompt: Json
    client_id: str
    messages: list[list[Any]] = field(default_factory=list)
    interrupted: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def item(self) -> list[Any]:
        return [self.number, self.prompt_id, self.prompt, {"client_id": self.client_id}, last_nodes(self.prompt)]


class _NodeRaised(Exception):
    """The fault `raise_in` struck this node."""


class _Interrupted(Exception):
    """Somebody interrupted the job in this node."""


@dataclass
class Scripted:
    """The engine of made-up jobs; the same order of messages and of history as ComfyUI's."""

    send: Send
    faults: Faults
    known: frozenset[str]
    has_file: Callable[[str], bool]
    keep_picture: Callable[[str, Json], Json]
    run_seconds: float
    steps: int

    def __post_init__(self) -> None:
        self._number = 0
        self._pending: list[_Job] = []
        self._running: _Job | None = None
        self._history: dict[str, Json] = {}
        self._come = asyncio.Event()
        self.spans: list[tuple[float, float]] = []
        """When each job began and ended, by the monotonic clock."""
        self._news: set[asyncio.Task[None]] = set()
        self._worker = asyncio.create_task(self._work())

    async def close(self) -> None:
        for task in (self._worker, *self._news):
            task.cancel()
        await asyncio.wait({self._worker, *self._news})

    def submit(self, body: Json) -> tuple[int, Json]:
        prompt = body["prompt"]
        complaint = no_such_class(prompt, self.known) or no_such_file(prompt, self.has_file)
        if complaint:
            return 400, complaint
        self._number += 1
        answer = {"prompt_id": body["prompt_id"], "number": self._number, "node_errors": {}}
        if self.faults.swallow_prompts:
            self.faults.swallow_prompts -= 1
            return 200, answer
        self._pending.append(_Job(self._number, body["prompt_id"], prompt, body.get("client_id", "")))
        self._tell_queue()
        self._come.set()
        return 200, answer

    def queue(self) -> Json:
        running = [self._running.item] if self._running else []
        return {"queue_running": running, "queue_pending": [job.item for job in self._pending]}

    def history(self, prompt_id: str) -> Json:
        return {prompt_id: self._history[prompt_id]} if prompt_id in self._history else {}

    def forget(self, prompt_ids: list[str]) -> None:
        for prompt_id in prompt_ids:
            self._history.pop(prompt_id, None)

    def delete(self, prompt_ids: list[str]) -> None:
        kept = [job for job in self._pending if job.prompt_id not in prompt_ids]
        if len(kept) < len(self._pending):
            self._pending = kept
            self._tell_queue()

    def interrupt(self, prompt_id: str | None) -> None:
        if self._running and prompt_id in (None, self._running.prompt_id):
            self._running.interrupted.set()

    def _status(self) -> Json:
        return {"status": {"exec_info": {"queue_remaining": len(self._pending) + (self._running is not None)}}}

    def _tell_queue(self) -> None:
        # From a route, as a task: the publisher is never waited for by a request.
        task = asyncio.create_task(self.send("status", self._status(), None))
        self._news.add(task)
        task.add_done_callback(self._news.discard)

    async def _work(self) -> None:
        while True:
            await self._come.wait()
            if not self._pending:
                self._come.clear()
                continue
            self._running = job = self._pending.pop(-1 if self.faults.last_first else 0)
            began = time.monotonic()
            await self.send("status", self._status(), None)
            outputs = await self._run(job)
            self.spans.append((began, time.monotonic()))
            entry = {
                "prompt": job.item,
                "outputs": outputs or {},
                "status": {
                    "status_str": "success" if outputs is not None else "error",
                    "completed": outputs is not None,
                    "messages": job.messages,
                },
                "meta": {},
            }
            end = {"node": None, "prompt_id": job.prompt_id}
            if self.faults.late_history:
                await self.send("executing", end, job.client_id)
                await asyncio.sleep(self.faults.late_history)
            self._history[job.prompt_id] = entry
            self._running = None
            if not self.faults.late_history:
                await self.send("status", self._status(), None)
                await self.send("executing", end, job.client_id)

    async def _run(self, job: _Job) -> Json | None:
        last = last_nodes(job.prompt)
        await self._tell(job, "execution_start", {})
        busy = last if not self.run_seconds and not self.faults.raise_in else list(job.prompt)
        await self._tell(job, "execution_cached", {"nodes": [node for node in job.prompt if node not in busy]})
        outputs: Json = {}
        node_id = ""
        try:
            for node_id in busy:
                await self._run_node(job, node_id, self.run_seconds / len(busy))
                if node_id in last:
                    outputs[node_id] = {"images": [self.keep_picture(f"fake_{job.number:05}_.png", job.prompt)]}
                    await self._say(job, "executed", {"node": node_id, "output": outputs[node_id]})
        except (_NodeRaised, _Interrupted) as error:
            data = {"node_id": node_id, "node_type": job.prompt[node_id]["class_type"], "executed": list(outputs)}
            if isinstance(error, _NodeRaised):
                kind, text = self.faults.raised
                failure = {"exception_type": kind, "exception_message": text, "traceback": []}
                await self._tell(job, "execution_error", data | failure)
            else:
                await self._tell(job, "execution_interrupted", data)
            return None
        await self._tell(job, "execution_success", {})
        return outputs

    async def _run_node(self, job: _Job, node_id: str, seconds: float) -> None:
        class_type = job.prompt[node_id]["class_type"]
        await self._say(job, "executing", {"node": node_id, "display_node": node_id})
        if class_type == self.faults.raise_in and self.faults.raise_times:
            self.faults.raise_times -= 1
            raise _NodeRaised
        steps = self.steps if "Sampler" in class_type else 0
        for step in range(1, steps + 1):
            await self._pass(job, seconds / steps)
            await self._say(job, "progress", {"node": node_id, "value": step, "max": steps})
        if not steps:
            await self._pass(job, seconds)
        state = {"value": 1.0, "max": 1.0, "state": "finished", "node_id": node_id}
        await self._say(job, "progress_state", {"nodes": {node_id: state}})

    async def _pass(self, job: _Job, seconds: float) -> None:
        if seconds:
            try:
                async with asyncio.timeout(seconds):
                    await job.interrupted.wait()
            except TimeoutError:
                return
        if job.interrupted.is_set():
            raise _Interrupted

    async def _tell(self, job: _Job, kind: str, data: Json) -> None:
        data = data | {"prompt_id": job.prompt_id, "timestamp": int(time.time() * 1000)}
        job.messages.append([kind, data])
        await self.send(kind, data, job.client_id)

    async def _say(self, job: _Job, kind: str, data: Json) -> None:
        await self.send(kind, data | {"prompt_id": job.prompt_id}, job.client_id)
