"""The pictures that one backend has of ours: a bounded ring of files that are written over, for none can be deleted.

ComfyUI takes pictures and never gives them up. So each goes under the name of a slot, in a folder of this service's
own, and a slot is written over when nobody needs it any more: no job of this process holds it, and the backend's queue,
which is the truth about jobs of an earlier life, does not name it. A picture that is there already is not sent again.
ComfyUI tells pictures by their content, so that a slot's new picture is never mistaken for the old one.
Knows nothing of jobs.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from orchestrator.comfy.wire import UPLOAD_FOLDER, Upload, Wire

KEPT_SLOTS = 16
"""Files that a backend has of ours, unless its jobs need more at once."""


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

    def __init__(self, wire: Wire, mark: str = "", kept: int = KEPT_SLOTS) -> None:
        self._wire = wire
        self._folder = f"{UPLOAD_FOLDER}/{mark}" if mark else UPLOAD_FOLDER
        self._kept = kept
        self._slots: list[_Slot] = []
        """The least recently used first."""
        self._choosing = asyncio.Lock()
        self._life = 0

    @asynccontextmanager
    async def held(self, pictures: Sequence[Upload]) -> AsyncGenerator[Mapping[str, str], None]:
        """While the block lasts the backend has these pictures: `Upload.reference` → what a node there understands.

        Raises BackendLost, or GraphRejected when one is not taken.
        """
        slots = await self._choose(pictures)
        try:
            await self.send(pictures)
            yield {picture.reference: self._reference(slots[picture.name]) for picture in pictures}
        finally:
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
            busy = await self._in_queue() if new else frozenset()
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

    async def _in_queue(self) -> frozenset[str]:
        """The files that jobs at the backend still need, whoever put them there."""
        named = re.compile(re.escape(f"{self._folder}/") + r"(\d+\.png) \[temp\]")
        return frozenset(named.findall(await self._wire.queue_text()))

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
