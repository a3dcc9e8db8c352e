"""What the publishing pack passes on for the editor's page, and what it does not."""

import pytest

from comfyui_nodes.orchestrator_publish.passing import KEY, MARK, URL, Refused, admit, passing

FIXED = {URL: "http://service:8080", KEY: "secret"}
WISH = {"name": "house", "workflow": {"nodes": []}, "dry_run": True}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {MARK: "1", "Host": "127.0.0.1:8188", "Origin": "http://evil.example"},
        {MARK: "1", "Host": "127.0.0.1:8188", "Origin": "http://127.0.0.1:8080"},
        {MARK: "1", "Host": "127.0.0.1:8188", "Origin": "null"},
        {MARK: "1", "Host": "127.0.0.1:8188", "Sec-Fetch-Site": "same-site"},
        {MARK: "1", "Host": "127.0.0.1:8188", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_what_a_page_of_another_address_could_send_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Refused):
        admit(headers)


def test_the_editors_own_script_is_let_through() -> None:
    own = {MARK: "1", "Host": "Comfy.lan:8188", "Origin": "http://comfy.lan:8188", "Sec-Fetch-Site": "same-origin"}
    admit(own)
    admit({MARK: "1"})


def test_the_environments_address_holds_and_its_key_goes_there_alone() -> None:
    sent = passing(WISH | {"address": "http://evil.example"}, "127.0.0.1:8188", FIXED)
    assert sent.url == "http://service:8080/widgets/house"
    assert sent.headers == {"Authorization": "Bearer secret"}
    assert sent.body == {"workflow": {"nodes": []}, "dry_run": True}
    assert passing(WISH | {"address": "http://other"}, "localhost", {KEY: "secret"}).headers == {}


@pytest.mark.parametrize("host", ["evil.example:8188", "localhost.evil.example", ""])
def test_a_name_that_a_stranger_may_have_pointed_here_gets_no_key(host: str) -> None:
    assert passing(WISH, host, FIXED).headers == {}
    own = passing(WISH | {"key": "orc_mine"}, host, FIXED)
    assert own.headers == {"Authorization": "Bearer orc_mine"}


def test_the_settings_address_and_key_are_used_where_the_environment_names_none() -> None:
    sent = passing(WISH | {"address": "https://host/below/", "key": "orc_1", "name": "a/../b"}, "x", {})
    assert (sent.url, sent.headers) == ("https://host/below/widgets/a%2F..%2Fb", {"Authorization": "Bearer orc_1"})


@pytest.mark.parametrize(
    "change",
    [
        {"address": ""},
        {"address": "service:8080"},
        {"address": "file:///etc/passwd"},
        {"address": "http://user:word@host"},
        {"address": "http://host/?a=b"},
        {"address": "http://host:99999"},
        {"address": "http://[::1"},
        {"address": "http://host", "key": "a\r\nX: y"},
        {"address": "http://host", "key": ["x"]},
        {"address": "http://host", "name": ""},
        {"address": "http://host", "name": 3},
    ],
)
def test_what_makes_no_request_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(Refused):
        passing(WISH | change, "127.0.0.1", {})
    with pytest.raises(Refused):
        passing([change], "127.0.0.1", {})
