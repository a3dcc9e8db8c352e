"""Fetches one file over HTTP: resumed where it broke off, also after a restart, and named only when its hash is right.

Standard library alone. Knows nothing of ComfyUI.
"""

import hashlib
import http.client
import os
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_PIECE = 4 << 20
_TRIES = 5
_STALL_SECONDS = 60.0


@dataclass(frozen=True)
class Wanted:
    """A file, its content by hash, its length in bytes and where it can be had."""

    target: Path
    sha256: str
    size: int
    url: str

    @property
    def part(self) -> Path:
        """Named by content, so that a restart goes on with the same file and no other."""
        return self.target.with_name(f".{self.target.name}.{self.sha256[:16]}.part")

    @property
    def mark(self) -> Path:
        """Says which content the target has."""
        return self.target.with_name(self.target.name + ".sha256")

    def is_there(self) -> bool:
        try:
            return self.target.stat().st_size == self.size and self.mark.read_text().strip() == self.sha256
        except OSError:
            return False


class Fetching:
    """One file on its way in a thread of its own; `error` is set when it has failed."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.received = 0
        self.error: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"fetch {wanted.target.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._fetch()
        except Exception as error:  # noqa: BLE001 - a thread that dies silently would be waited for
            self.error = f"{type(error).__name__}: {error}"

    def _fetch(self) -> None:
        wanted = self.wanted
        wanted.target.parent.mkdir(parents=True, exist_ok=True)
        if wanted.target.exists() and not wanted.mark.exists():
            self._adopt()
            return
        with wanted.part.open("a+b") as file:
            digest = self._hashed(file)
            failed = 0
            while self.received < wanted.size:
                before = self.received
                try:
                    digest = self._one_connection(file, digest)
                except urllib.error.HTTPError as error:
                    # The link was refused or the service has lost the file: another try would hear the same.
                    if error.code < 500:
                        raise
                except (OSError, http.client.HTTPException):
                    pass
                failed = 1 if self.received > before else failed + 1
                if self.received < wanted.size:
                    if failed >= _TRIES:
                        raise ValueError(f"it broke off {failed} times at {self.received} of {wanted.size} bytes")
                    time.sleep(min(10.0, 0.5 * 2**failed))
            os.fsync(file.fileno())
        if digest.hexdigest() != wanted.sha256:
            wanted.part.unlink()
            raise ValueError(f"its SHA-256 is {digest.hexdigest()}, not {wanted.sha256}")
        wanted.mark.write_text("")  # ours in any case, and of no content while it is replaced
        wanted.part.replace(wanted.target)
        wanted.mark.write_text(wanted.sha256)

    def _adopt(self) -> None:
        """Takes a file of this machine's owner if it is the same one; it is never replaced by another."""
        wanted = self.wanted
        same = wanted.target.stat().st_size == wanted.size
        if same:
            with wanted.target.open("rb") as file:
                same = hashlib.file_digest(file, "sha256").hexdigest() == wanted.sha256
        if not same:
            raise ValueError(
                f"this ComfyUI has another file called {wanted.target.name} of its own; rename one of them"
            )
        wanted.mark.write_text(wanted.sha256)
        self.received = wanted.size

    def _hashed(self, file: BinaryIO) -> "hashlib._Hash":
        """The hash of what an earlier try left."""
        digest = hashlib.sha256()
        file.seek(0)
        while piece := file.read(_PIECE):
            digest.update(piece)
            self.received += len(piece)
        return digest

    def _one_connection(self, file: BinaryIO, digest: "hashlib._Hash") -> "hashlib._Hash":
        headers = {"Range": f"bytes={self.received}-"} if self.received else {}
        # The route lets only http and https URLs of the service through.
        request = urllib.request.Request(self.wanted.url, headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=_STALL_SECONDS) as answer:  # noqa: S310
            if self.received and answer.status != 206:
                file.truncate(0)
                self.received, digest = 0, hashlib.sha256()
            while self.received < self.wanted.size and (piece := answer.read(_PIECE)):
                file.write(piece)
                digest.update(piece)
                self.received += len(piece)
        return digest
