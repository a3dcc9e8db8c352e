"""Links that expire and cannot be forged. Must not know how images are kept."""

import base64
import hashlib
import hmac
import math
import os
import secrets
from pathlib import Path
from urllib.parse import urlencode

from orchestrator.errors import LinkExpired, SettingsError

_SECRET_BYTES = 32


class LinkSigner:
    """Signs with HMAC-SHA256 over the route, the image's key and its expiry (seconds since 1970).

    `base_url` is where callers reach the service, such as https://pictures.example.org/api; `path` is the route there.
    """

    def __init__(self, secret: bytes, base_url: str, path: str = "images") -> None:
        self._secret = secret
        self.base_url = base_url.rstrip("/")
        self._path = path

    def beside(self, path: str) -> "LinkSigner":
        """A signer of links to another route of the same service."""
        return LinkSigner(self._secret, self.base_url, path)

    def url(self, key: str, expires_at: float) -> str:
        """The public URL of what is kept as `key` (of URL-safe characters) until `expires_at`."""
        expires = math.ceil(expires_at)
        query = urlencode({"expires": expires, "signature": self._signature(key, expires)})
        return f"{self.base_url}/{self._path}/{key}?{query}"

    def check(self, key: str, expires: str, signature: str, now: float) -> int:
        """The expiry of a link whose parts came with a request; raises LinkExpired if it is over or not our
        signature."""
        if not (expires.isascii() and expires.isdecimal() and len(expires) <= 12):
            raise LinkExpired
        # As bytes and in constant time: compare_digest takes no text outside ASCII.
        genuine = hmac.compare_digest(self._signature(key, int(expires)).encode(), signature.encode("utf-8", "replace"))
        if not genuine or int(expires) <= now:
            raise LinkExpired
        return int(expires)

    def _signature(self, key: str, expires: int) -> str:
        message = f"{self._path}\n{key}\n{expires}".encode("utf-8", "surrogatepass")
        return base64.urlsafe_b64encode(hmac.new(self._secret, message, hashlib.sha256).digest()).decode().rstrip("=")


def secret_file(path: Path) -> bytes:
    """The service's secret, made on first use: 32 random bytes that only its owner may read.

    Two services that start at once get the same one. Raises SettingsError if the file cannot be used.
    """
    try:
        if not path.exists():
            _create(path)
        secret = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"The secret {path} cannot be used: {error}") from error
    if len(secret) < _SECRET_BYTES:
        raise SettingsError(
            f"The secret {path} is shorter than {_SECRET_BYTES} bytes; remove it to have a new one made"
        )
    return secret


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(fresh, path)  # unlike a rename, it leaves the one that another process made first
        except FileExistsError:
            return
    finally:
        fresh.unlink(missing_ok=True)
