import json
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from orchestrator.webhooks.signing import WebhookSigner

BODY = json.dumps({"type": "job.succeeded", "data": {"prompt": "ünïcode"}}, ensure_ascii=False).encode()


def test_the_standards_own_library_takes_the_signature_and_no_other() -> None:
    signer = WebhookSigner(b"r" * 32)
    headers = dict(signer.headers("alice", "msg_1", int(time.time()), BODY))
    mine = Webhook(signer.secret("alice"))
    assert mine.verify(BODY, headers) == json.loads(BODY)
    for changed in ({"webhook-id": "msg_2"}, {"webhook-timestamp": str(int(time.time()) - 9)}):
        with pytest.raises(WebhookVerificationError):
            mine.verify(BODY, headers | changed)
    with pytest.raises(WebhookVerificationError):
        mine.verify(BODY + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(signer.secret("bob")).verify(BODY, headers)


def test_secrets_follow_from_the_services_and_a_fixed_one_is_everybodys() -> None:
    one, other = WebhookSigner(b"r" * 32), WebhookSigner(b"s" * 32)
    assert one.secret("a") == WebhookSigner(b"r" * 32).secret("a") != one.secret("b")
    assert one.secret("a") != other.secret("a")
    fixed = WebhookSigner(b"r" * 32, "whsec_" + "QUJD" * 8)
    assert fixed.secret("a") == fixed.secret("b") == "whsec_" + "QUJD" * 8


@pytest.mark.parametrize(("secret", "says"), [("whsec_???", "base64"), ("whsec_QUJD", "24 bytes")])
def test_what_is_no_secret_is_refused(secret: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        WebhookSigner(b"r" * 32, secret)
