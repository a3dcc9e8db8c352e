"""`Idempotency-Key`: the same request under the same key is the same job, however often it is sent.

The job's id follows from the key, so that nothing but the job has to be kept; a fingerprint tells another body.
"""

import asyncio
import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping

from orchestrator.errors import FieldError, InvalidParameters

_LONGEST = 255


class RequestKeys:
    """Makes job ids of keys; without the service's `secret` nobody can tell one from the other."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def job_id(self, key: str | None, owner: str = "") -> str:
        """A UUID that follows from the key and its owner; a fresh one without a key. Raises InvalidParameters."""
        if key is None:
            return str(uuid.uuid4())
        if not key or len(key) > _LONGEST:
            raise InvalidParameters(None, [FieldError("Idempotency-Key", f"must have 1 to {_LONGEST} characters")])
        whose = f"idempotency of {owner}\n" if owner else "idempotency\n"  # no header holds the end of a line
        digest = hmac.new(self._secret, (whose + key).encode("utf-8", "replace"), hashlib.sha256).digest()
        return str(uuid.UUID(bytes=digest[:16], version=4))


async def fingerprint(
    widget: str, raw: Mapping[str, object], output_format: str, asked: Mapping[str, str] | None = None
) -> str:
    """Of a request: equal for equal values, in whatever order they came. In hex.

    `asked` are the headers that the job was asked for with and that stay with it.
    """
    return await asyncio.to_thread(_fingerprint, widget, raw, output_format, asked or {})


def _fingerprint(widget: str, raw: Mapping[str, object], output_format: str, asked: Mapping[str, str]) -> str:
    # Without such headers as it always was, so that keys outlast a change of version.
    about = [widget, output_format, *([sorted(asked.items())] if asked else [])]
    digest = hashlib.sha256(json.dumps(about).encode())
    for name in sorted(raw):
        value = raw[name]
        # A long string of a JSON body comes as its UTF-8, a file of a form as it is: both are bytes.
        content = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True, default=repr).encode()
        digest.update(json.dumps([name, len(content)]).encode())
        digest.update(content)
    return digest.hexdigest()
