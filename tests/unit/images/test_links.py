"""Signed links and the secret behind them."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import LinkExpired, SettingsError
from orchestrator.images.links import LinkSigner, secret_file

SIGNER = LinkSigner(b"s" * 32, "https://example.org/api/")
KEY = "abc.1700000100.jpg"


def parts(url: str) -> tuple[str, str]:
    query = parse_qs(urlsplit(url).query)
    return query["expires"][0], query["signature"][0]


def test_a_link_is_under_the_base_url_and_good_until_it_expires() -> None:
    url = SIGNER.url(KEY, 1_700_000_100.2)
    assert url.startswith(f"https://example.org/api/images/{KEY}?expires=1700000101&signature=")
    assert SIGNER.check(KEY, *parts(url), now=1_700_000_100.9) == 1_700_000_101
    with pytest.raises(LinkExpired):
        SIGNER.check(KEY, *parts(url), now=1_700_000_101)


def test_a_link_is_for_one_image_one_expiry_and_one_secret() -> None:
    expires, signature = parts(SIGNER.url(KEY, 2000))
    for signer, key, until in (
        (SIGNER, "other", expires),
        (SIGNER, KEY, "2001"),
        (LinkSigner(b"t" * 32, ""), KEY, expires),
        (LinkSigner(b"s" * 32, "https://example.org/api/", "models"), KEY, expires),
    ):
        with pytest.raises(LinkExpired):
            signer.check(key, until, signature, now=0)


@pytest.mark.parametrize("expires", ["", "-1", "1e9", "9" * 13, "²", "٩", " 1", "0x10", "\ud800"])
def test_an_expiry_that_is_no_number_is_refused(expires: str) -> None:
    with pytest.raises(LinkExpired):
        SIGNER.check(KEY, expires, "x", now=0)


@given(st.text(st.characters(exclude_categories=[])), st.text(st.characters(exclude_categories=[])))
def test_any_other_signature_is_refused(key: str, signature: str) -> None:
    with pytest.raises(LinkExpired):
        SIGNER.check(key, "2000", signature, now=0)


def test_the_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret"
    with ThreadPoolExecutor(8) as threads:
        secrets = set(threads.map(lambda _: secret_file(path), range(8)))
    assert len(secrets) == 1
    assert len(secret_file(path)) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["secret"]


def test_a_secret_that_cannot_be_used_stops_the_service(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_bytes(b"short")
    with pytest.raises(SettingsError, match="shorter than 32"):
        secret_file(short)
    with pytest.raises(SettingsError, match="cannot be used"):
        secret_file(short / "below a file")
    with pytest.raises(SettingsError, match="cannot be used"):
        secret_file(tmp_path)
