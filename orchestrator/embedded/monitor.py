"""Between a running node and the outside: steps and previews go out, the wish to stop comes in. Knows no node and no
socket.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from orchestrator.embedded.foreign import Interrupted

if TYPE_CHECKING:
    from PIL.Image import Image

Listener: TypeAlias = Callable[[int, int], None]
Look: TypeAlias = "Callable[[], Image]"
"""Makes a preview, if somebody wants one."""


class Monitor:
    """Shared by the worker thread, which runs nodes, and the server's thread, which interrupts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: str | None = None
        self._stop: str | None = None
        self._listener: Listener | None = None
        self._viewer: Callable[[Look], None] | None = None

    def begin(self, prompt_id: str) -> None:
        """A prompt starts to run."""
        with self._lock:
            self._running = prompt_id

    def end(self) -> None:
        """The prompt has ended; a wish to stop it ends with it."""
        with self._lock:
            self._running = self._stop = None

    def listen(self, listener: Listener | None, viewer: Callable[[Look], None] | None = None) -> None:
        """Who is told the steps of the node that runs now, and who may look at what it makes."""
        self._listener, self._viewer = listener, viewer

    def interrupt(self, prompt_id: str | None = None) -> bool:
        """Asks the running prompt to stop, if it is the one named (or whichever, for None); tells whether it was."""
        with self._lock:
            if self._running is None or prompt_id not in (None, self._running):
                return False
            self._stop = self._running
            return True

    def check(self) -> None:
        """Raises Interrupted when the running prompt was asked to stop."""
        with self._lock:
            if self._stop is not None and self._stop == self._running:
                raise Interrupted

    def step(self, done: int, total: int) -> None:
        """A node has done `done` of `total` steps; raises Interrupted when it is to stop."""
        self.check()
        if self._listener is not None:
            self._listener(done, total)

    def show(self, look: Look) -> None:
        """What a node makes can be looked at by now."""
        if self._viewer is not None:
            self._viewer(look)
