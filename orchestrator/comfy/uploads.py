"""The pictures that one backend has of ours: a bounded ring of files that are written over, for none can be deleted.

ComfyUI takes pictures and never gives them up. So each goes under the name of a slot, in a folder of this service's
own, and a slot is written over when nobody needs it any more: no job of this process holds it, and no other job at the
backend names it. Those others are jobs of an earlier life, and jobs of this one whose end is not known; the queue tells
of them, and is read only while there may be any. A picture that is there already is not sent again.
ComfyUI tells pictures by their content, so that a slot's new picture is never mistaken for the old one.
Of jobs it knows no more than their ids.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from orchestrator.comfy.wire import UPLOAD_FOLDER, Upload, Wire

KEPT_SLOTS = 16
"""Files that a backend has of ours, unless its jobs need more at once."""
SETTLING_SECONDS = 10.0
"""For so long a job whose end is not known may still come to a backend: a request that was cut off is acted on late."""


@dataclass(eq=False)
class _Slot:
    file: str
    picture: str = ""
    """Name of the picture that is in it, or on its way."""
    sent: bool = False
    holders: int = 0
    sending: asyncio.Lock = field(default_factory=asyncio.Lock)


class Uploads:
    """The slots of one backend; `mark` tells this service's from another's, and follows from its data folder."""

    def __init__(self, wire: Wire, mark: str = "", kept: int = KEPT_SLOTS, settling: float = SETTLING_SECONDS) -> None:
        self._wire = wire
        self._folder = f"{UPLOAD_FOLDER}/{mark}" if mark else UPLOAD_FOLDER
        self._kept = kept
        self._slots: list[_Slot] = []
        """The least recently used first."""
        self._choosing = asyncio.Lock()
        self._life = 0
        self._settling = settling
        self._jobs: dict[str, frozenset[str]] = {}
        """The jobs that hold slots, and the files of these."""
        self._others = True
        """Whether the backend may have jobs that name our slots and do not hold them."""
        self._unsettled = time.monotonic()
        """When the last such job may have come to be."""

    @asynccontextmanager
    async def held(self, pictures: Sequence[Upload], prompt_id: str) -> AsyncGenerator[Mapping[str, str], None]:
        """While the block lasts the backend has these pictures: `Upload.reference` → what a node there understands.

        The job `prompt_id` has ended at the backend when the block ends, or the block raises. Raises BackendLost, or
        GraphRejected when one is not taken.
        """
        slots = await self._choose(pictures)
        self._jobs[prompt_id] = frozenset(slot.file for slot in slots.values())
        try:
            await self.send(pictures)
            yield {picture.reference: self._reference(slots[picture.name]) for picture in pictures}
        except BaseException:
            self._doubt()
            raise
        finally:
            self._jobs.pop(prompt_id, None)
            for slot in slots.values():
                slot.holders -= 1

    async def send(self, pictures: Sequence[Upload]) -> None:
        """Sends those of the held pictures that the backend does not have. Raises as `held` does."""
        await asyncio.gather(*(self._send(picture) for picture in pictures))

    def forget(self, pictures: Sequence[Upload]) -> None:
        """These held pictures are gone from the backend."""
        for picture in pictures:
            if (slot := self._slot_of(picture.name)) is not None:
                slot.sent = False

    def forget_all(self) -> None:
        """The backend may have been restarted, and a restart empties its folders."""
        self._life += 1
        self._doubt()
        for slot in self._slots:
            slot.sent = False

    def files(self, pictures: Sequence[Upload]) -> frozenset[str]:
        """The held pictures' names at the backend, as its complaints have them."""
        slots = (self._slot_of(picture.name) for picture in pictures)
        return frozenset(f"{self._folder}/{slot.file}" for slot in slots if slot is not None)

    async def _choose(self, pictures: Sequence[Upload]) -> dict[str, _Slot]:
        """A slot for each, held from now on; by one job at a time, for two must not take the same."""
        chosen: dict[str, _Slot] = {}
        async with self._choosing:
            new = [picture.name for picture in pictures if self._slot_of(picture.name) is None]
            busy = await self._named_by_others() if new and self._others else frozenset()
            for picture in pictures:
                slot = chosen.get(picture.name) or self._slot_of(picture.name) or self._free(busy)
                if slot.picture != picture.name:
                    slot.picture, slot.sent = picture.name, False
                if picture.name not in chosen:
                    slot.holders += 1
                    chosen[picture.name] = slot
                self._slots.remove(slot)
                self._slots.append(slot)
        return chosen

    def _free(self, busy: frozenset[str]) -> _Slot:
        free = [slot for slot in self._slots if not slot.holders and slot.file not in busy]
        if free and len(self._slots) >= self._kept:
            return free[0]
        known, number = {slot.file for slot in self._slots} | busy, 0
        while _file(number) in known:
            number += 1
        slot = _Slot(_file(number))
        self._slots.append(slot)
        return slot

    def _doubt(self) -> None:
        self._others, self._unsettled = True, time.monotonic()

    async def _named_by_others(self) -> frozenset[str]:
        """The files that jobs at the backend need without holding them, whoever put them there.

        A job that runs once more may be there from before, too, and need other files than it holds now.
        """
        named = re.compile(re.escape(f"{self._folder}/") + r"(\d+\.png) \[temp\]")
        asked = time.monotonic()
        files: set[str] = set()
        for job_id, listed in (await self._wire.queue()).all.items():
            files |= set(named.findall(json.dumps(listed))) - self._jobs.get(job_id, frozenset())
        self._others = bool(files) or asked < self._unsettled + self._settling
        return frozenset(files)

    async def _send(self, picture: Upload) -> None:
        slot = self._slot_of(picture.name)
        assert slot is not None, "a picture is sent while it is held"
        # One sender a file: writing it again while a job reads it would show that job half a picture.
        async with slot.sending:
            if slot.sent:
                return
            life = self._life
            await self._wire.upload(picture.data, self._folder, slot.file)
            slot.sent = life == self._life

    def _slot_of(self, picture: str) -> _Slot | None:
        return next((slot for slot in self._slots if slot.picture == picture), None)

    def _reference(self, slot: _Slot) -> str:
        return f"{self._folder}/{slot.file} [temp]"


def _file(number: int) -> str:
    return f"{number:02}.png"
