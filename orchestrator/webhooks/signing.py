"""Signatures as Standard Webhooks 1.0 describes them (https://www.standardwebhooks.com): HMAC-SHA256, "v1". Pure.

Each caller has a secret of its own, which follows from the service's: nothing has to be kept, and no caller can sign
for another.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

_PREFIX = "whsec_"


class WebhookSigner:
    """Signs with a secret that follows from `root` and the caller's id; with `fixed` ("whsec_" and base64), with that.

    Raises ValueError for a fixed secret that is none, or is shorter than 24 bytes.
    """

    def __init__(self, root: bytes, fixed: str = "") -> None:
        self._root = root
        self._fixed = decoded(fixed) if fixed else None

    def secret(self, owner: str) -> str:
        """What the caller of that id verifies with: "whsec_" and base64."""
        return _PREFIX + base64.b64encode(self._key(owner)).decode()

    def headers(self, owner: str, message_id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
        """Those of one try; `timestamp` in seconds since the epoch."""
        signed = f"{message_id}.{timestamp}.".encode() + body
        signature = base64.b64encode(hmac.new(self._key(owner), signed, hashlib.sha256).digest()).decode()
        return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}

    def _key(self, owner: str) -> bytes:
        return self._fixed or hmac.new(self._root, f"webhook\n{owner}".encode(), hashlib.sha256).digest()


def decoded(secret: str) -> bytes:
    """The bytes of a secret as it is written. Raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("is not whsec_ and base64") from error
    if len(key) < 24:
        raise ValueError("has fewer than 24 bytes")
    return key
