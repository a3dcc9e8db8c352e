"""Recorded sessions of a real ComfyUI, and the engine that plays one to whoever sends the same requests.

Ids are the only thing that is changed: the player answers under the ids that the client of now has chosen.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.engine import Json, Send, last_nodes


@dataclass(frozen=True)
class Recording:
    """The lines of one session file."""

    lines: tuple[Json, ...]

    @classmethod
    def load(cls, path: Path) -> "Recording":
        return cls(tuple(json.loads(line) for line in path.read_text().splitlines()))

    def requests(self, start: str) -> list[Json]:
        """The HTTP lines whose method and path begin like this."""
        return [line for line in self.lines if line.get("http", "").startswith(start)]

    @property
    def texts(self) -> list[Json]:
        """The text frames, decoded."""
        return [line["ws_text"] for line in self.lines if "ws_text" in line]

    def entry(self, prompt_id: str) -> Json | None:
        """The history entry that was read at the end, if it was."""
        for line in self.requests(f"GET /history/{prompt_id}"):
            if line["response"]:
                return line["response"][prompt_id]
        return None


@dataclass
class Recorded:
    """Plays the frames as fast as they are read; where the recorder made a request, waits for the client to make it."""

    recording: Recording
    send: Send
    send_bytes: Callable[[bytes], object]
    keep_picture: Callable[[str], Json]

    def __post_init__(self) -> None:
        self._at = 0
        self._ids: dict[str, str] = {}
        self._owners: dict[str, str] = {}
        self._active: dict[str, Json] = {}
        self._ended: dict[str, Json] = {}
        self._deleted = 0
        self._remaining = 0
        self._asked: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(0))
        self._player: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self._player:
            self._player.cancel()
            await asyncio.wait({self._player})

    def submit(self, body: Json) -> tuple[int, Json]:
        lines = self.recording.lines
        index = next(i for i in range(self._at, len(lines)) if lines[i].get("http") == "POST /prompt")
        line, self._at = lines[index], index + 1
        if line["status"] != 200:
            return line["status"], line["response"]
        recorded, prompt_id = line["response"]["prompt_id"], body["prompt_id"]
        self._ids[recorded], self._owners[prompt_id] = prompt_id, body["client_id"]
        entry = self.recording.entry(recorded)
        self._active[prompt_id] = self._renamed(entry) if entry else self._made_up(body["prompt"])
        previous, self._player = self._player, None
        self._player = asyncio.create_task(self._play(previous))
        return 200, line["response"] | {"prompt_id": prompt_id}

    def queue(self) -> Json:
        items = [[number, prompt_id, {}, {}, []] for number, prompt_id in enumerate(self._active)]
        return {"queue_running": items[:1], "queue_pending": items[1:]}

    def history(self, prompt_id: str) -> Json:
        return {prompt_id: self._ended[prompt_id]} if prompt_id in self._ended else {}

    def forget(self, prompt_ids: list[str]) -> None:
        for prompt_id in prompt_ids:
            self._ended.pop(prompt_id, None)

    def delete(self, prompt_ids: list[str]) -> None:
        for prompt_id in prompt_ids:
            if prompt_id in list(self._active)[1:]:
                del self._active[prompt_id]
                self._deleted += 1
        self._asked["POST /queue"].release()

    def interrupt(self, prompt_id: str | None) -> None:
        if prompt_id in list(self._active)[:1]:
            self._asked["POST /interrupt"].release()

    def _renamed(self, value: Json) -> Json:
        text = json.dumps(value)
        for recorded, prompt_id in self._ids.items():
            text = text.replace(recorded, prompt_id)
        return json.loads(text)

    def _made_up(self, prompt: Json) -> Json:
        outputs = {node: {"images": [self.keep_picture("t_00001_.png")]} for node in last_nodes(prompt)}
        return {"outputs": outputs, "status": {"status_str": "success", "completed": True, "messages": []}}

    async def _play(self, previous: "asyncio.Task[None] | None") -> None:
        if previous:
            await previous
        while self._at < len(self.recording.lines):
            line = self.recording.lines[self._at]
            request = line.get("http", "")
            if request == "POST /prompt":
                return
            self._at += 1
            if request.startswith("POST"):
                await self._asked[request].acquire()
            elif "ws_text" in line:
                await self._send(self._renamed(line["ws_text"]))
            elif "ws_binary_len" in line:
                self.send_bytes(bytes.fromhex(line["ws_binary_head"]).ljust(line["ws_binary_len"], b"\0"))
            await asyncio.sleep(0)

    async def _send(self, message: Json) -> None:
        data = message["data"]
        if message["type"] != "status":
            await self.send(message["type"], data, self._owners.get(data["prompt_id"]))
            return
        remaining = data["status"]["exec_info"]["queue_remaining"]
        if remaining < self._remaining:
            self._end_one()
        self._remaining = remaining
        await self.send("status", data, None)

    def _end_one(self) -> None:
        # The history is written just before this broadcast; a deletion makes one too, and leaves no entry.
        if self._deleted:
            self._deleted -= 1
        else:
            prompt_id = next(iter(self._active))
            entry = self._ended[prompt_id] = self._active.pop(prompt_id)
            for output in entry["outputs"].values():
                for image in output.get("images", []):
                    self.keep_picture(image["filename"])
