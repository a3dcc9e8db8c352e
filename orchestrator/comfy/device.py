"""A device that has failed and cannot be trusted with jobs until its backend was started anew."""

import asyncio
from collections.abc import Coroutine


class Fault:
    """Whether a backend's device has failed, and how."""

    def __init__(self) -> None:
        self.reason = ""
        """In words; empty while nothing is wrong."""
        self._struck = asyncio.Event()

    def strike(self, reason: str) -> None:
        """From here on the device counts as failed."""
        self.reason = reason
        self._struck.set()

    def clear(self) -> None:
        """The device is a new one."""
        self.reason = ""
        self._struck.clear()

    async def or_until(self, other: Coroutine[None, None, None]) -> str:
        """Waits, without a deadline, until the device fails (the answer is the reason) or `other` is over (empty)."""
        waiting = {asyncio.ensure_future(other), asyncio.ensure_future(self._struck.wait())}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
        return self.reason
