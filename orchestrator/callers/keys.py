"""The API keys of a service in one small file, hashed; read anew whenever it has changed, so that a revoked key is void
with the next request. Several processes may use it.

A key is 256 random bits, so a plain SHA-256 hides it: nobody can try 2^256 of them. A slow salted hash (scrypt, argon2)
is for secrets that people think up; here it would only make each request slow. Must not know what keys are for.
"""

import fcntl
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from orchestrator.callers.caller import Caller, Limits, Right
from orchestrator.errors import SettingsError, StorageError

PREFIX = "orc_"
"""What every key begins with, so that it is known for one where it has leaked."""
_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class ApiKey:
    """What is kept of a key."""

    id: str
    name: str
    sha256: str
    """Of the key's text, in hex."""
    rights: frozenset[Right]
    limits: Limits
    created: float
    """Seconds since the epoch."""

    @property
    def caller(self) -> Caller:
        """Who holds it."""
        return Caller(self.id, self.name, self.rights, self.limits)


_KEYS = TypeAdapter(tuple[ApiKey, ...])


class ApiKeys:
    """The keys in the file at `path`, which need not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: _Stamp | None = None
        self._by_hash: dict[str, ApiKey] = {}

    def caller(self, key: str) -> Caller | None:
        """Who holds this key; None for what is no key (any more). Raises StorageError when the file cannot be read."""
        stamp = self._stamp()
        if stamp != self._read:
            self._by_hash = {kept.sha256: kept for kept in self.listed()}
            self._read = stamp
        kept = self._by_hash.get(_hashed(key))
        return kept.caller if kept else None

    def listed(self) -> Sequence[ApiKey]:
        """All that there are, in the order of their making. Raises StorageError."""
        try:
            return _KEYS.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            raise StorageError(f"The file of API keys {self._path} cannot be read: {_reason(error)}") from error

    def add(self, name: str, rights: frozenset[Right], limits: Limits) -> str:
        """A new key, which is told here and never again. Raises SettingsError for the name, StorageError."""
        if not _NAME.fullmatch(name):
            raise SettingsError(f"{name!r} is no name for a key: up to 64 of A-Z, a-z, 0-9 and . _ @ -")
        key = PREFIX + secrets.token_urlsafe(_BYTES)
        made = ApiKey(secrets.token_hex(8), name, _hashed(key), rights, limits, time.time())

        def with_it(keys: Sequence[ApiKey]) -> Sequence[ApiKey]:
            if any(kept.name == name for kept in keys):
                raise SettingsError(f"There is a key {name!r} already; revoke it, replace it, or take another name")
            return (*keys, made)

        self._change(with_it)
        return key

    def replace(self, name: str) -> str:
        """Another key in place of the one of that name, whose rights, limits and jobs it has. Raises SettingsError."""
        key = PREFIX + secrets.token_urlsafe(_BYTES)
        self._change(
            lambda keys: [replace(kept, sha256=_hashed(key)) if kept.name == name else kept for kept in keys], name
        )
        return key

    def limit(self, name: str, change: Callable[[Limits], Limits]) -> ApiKey:
        """Other limits for the key of that name, made of those that it has; from the next request on. Raises
        SettingsError."""
        changed: list[ApiKey] = []

        def with_limits(kept: ApiKey) -> ApiKey:
            if kept.name != name:
                return kept
            changed.append(replace(kept, limits=change(kept.limits)))
            return changed[-1]

        self._change(lambda keys: [with_limits(kept) for kept in keys], name)
        return changed[-1]

    def revoke(self, name: str) -> None:
        """The key of that name is void from now on. Raises SettingsError when there is none."""
        self._change(lambda keys: [kept for kept in keys if kept.name != name], name)

    def _change(self, change: Callable[[Sequence[ApiKey]], Sequence[ApiKey]], name: str | None = None) -> None:
        """Writes what `change` makes of the keys, while no other process does; `name` must be among them."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._locked():
                keys = self.listed()
                if name is not None and all(kept.name != name for kept in keys):
                    raise SettingsError(
                        f"There is no key {name!r}; `orchestrator keys list` names those that there are"
                    )
                self._write(_KEYS.dump_json(tuple(change(keys)), indent=1))
        except OSError as error:
            raise StorageError(f"The file of API keys {self._path} cannot be written: {_reason(error)}") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._path.with_name(f".{self._path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, content: bytes) -> None:
        """As a whole or not at all: readers find the old file or the new one."""
        fresh = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            fresh.replace(self._path)
        finally:
            fresh.unlink(missing_ok=True)

    def _stamp(self) -> _Stamp | None:
        """Another with each change, for each is a new file."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._by_hash = {}
            return None
        except OSError as error:
            raise StorageError(f"The file of API keys {self._path} cannot be read: {_reason(error)}") from error
        return found.st_ino, found.st_mtime_ns, found.st_size


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not a list of keys"
