import pytest
from yarl import URL

from orchestrator.models.origins import AllowedOrigins, shown
from orchestrator.settings import CIVITAI_HOSTS

ALLOWED = AllowedOrigins((*CIVITAI_HOSTS, "http://127.0.0.1:9000"))
R2 = "civitai-delivery-worker-prod.5ac0.r2.cloudflarestorage.com"


@pytest.mark.parametrize(
    "url",
    [
        "https://civitai.com/api",
        "https://civitai.red/",
        "https://b2.civitai.com/file/x?Authorization=y",
        f"https://{R2}/model/1/x",
        "http://127.0.0.1:9000/x",
    ],
)
def test_listed_places_may_be_asked(url: str) -> None:
    assert ALLOWED.permits(URL(url))


@pytest.mark.parametrize(
    "url",
    [
        "http://civitai.com/",
        "https://civitai.com:8443/",
        "https://civitai.com.evil.example/",
        "https://evilcivitai.com/",
        "https://x.civitai.com/",
        f"https://a.{R2}/",
        "https://civitai-delivery-worker-prod.a.b.r2.cloudflarestorage.com/",
        "http://169.254.169.254/latest/meta-data",
        "https://127.0.0.1/",
        "http://127.0.0.1:9001/x",
        "https://127.0.0.1:9000/x",
        "https://user@civitai.com/",
        "ftp://civitai.com/",
        "file:///etc/passwd",
        "/relative",
    ],
)
def test_no_other_place_may_be_asked(url: str) -> None:
    assert not ALLOWED.permits(URL(url))


def test_what_is_shown_of_a_url_has_no_key_in_it() -> None:
    assert shown(URL("https://b2.civitai.com/file/x?Authorization=secret")) == "https://b2.civitai.com/file/x"
