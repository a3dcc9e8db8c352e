from pathlib import Path

import pytest

from orchestrator.errors import SettingsError
from orchestrator.loading import load
from orchestrator.parts import image_store


def write(folder: Path, text: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(text)
    return file


def test_without_a_file_every_setting_has_its_default() -> None:
    settings = load(None, {})
    assert (settings.host, settings.port, settings.backends) == ("127.0.0.1", 8080, ())
    assert (settings.workflows / "inpaint" / "widget.yaml").is_file()


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "port: 1\nhost: 10.0.0.1\nlink_hours: 2")
    settings = load(file, {"ORCHESTRATOR_PORT": "2", "ORCHESTRATOR_LINK_HOURS": "3"}, port=4, data=None)
    assert (settings.port, settings.host, settings.link_hours) == (4, "10.0.0.1", 3.0)


def test_backends_are_a_list_of_urls_with_names_and_headers(tmp_path: Path) -> None:
    file = write(tmp_path, "backends:\n  - {url: 'http://gpu:8188', name: gpu, headers: {X-Key: k}}")
    (backend,) = load(file, {}).backends
    assert (backend.url, backend.name, backend.headers) == ("http://gpu:8188", "gpu", {"X-Key": "k"})


def test_backends_that_the_service_starts_are_told_by_their_kind(tmp_path: Path) -> None:
    text = "backends:\n  - {kind: managed, folder: /opt/ComfyUI, device: 0}\n  - {kind: managed, device: cpu}"
    first, second = load(write(tmp_path, text), {}).backends
    assert (first.kind, first.called, second.called) == ("managed", "comfyui-0", "comfyui-cpu")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("backends: [{kind: managed, port: many}]", r"backends\.0\.port"),
        ("backends: [{kind: managed, device: -1}]", r"backends\.0\.device"),
        ("backends: [{kind: managed, arguments: [--port=1]}]", "--port=1 is set by the service"),
        ("backends: [{kind: managed}, {kind: managed}]", "two backends are called comfyui"),
        (
            "backends: [{url: 'http://gpu:8188', name: a}, {url: 'http://GPU:8188/', name: b}]",
            "a and b have the same url",
        ),
        ("backends: [{kind: manged}]", "kind 'manged' is neither remote nor managed"),
        ("que_limit: 3", r"used: que_limit: is no setting; is queue_limit meant\?$"),
        ("backends: [{url: 'http://gpu:8188', heders: {}}]", r"backends\.0\.heders: .* is headers meant"),
        ("backends: [{kind: managed, url: 'http://gpu:8188'}]", r"backends\.0\.url: is no setting of a backend"),
        ("backends: http://gpu:8188", "backends: must be a list"),
        ("backends: ['http://gpu:8188']", r"backends\.0: must be names and values"),
        ("backends: [{url: 'http://gpu:8188', headers: secret}]", r"backends\.0\.headers: must be names and values"),
        ("backends: [{url: 'http://gpu:8188/secret/'}]", r"backends\.0\.url: must be an address such as http"),
        ("backends: [{kind: managed, name: 'a/b'}]", r"backends\.0\.name: must be letters"),
        ("port: 1\nhost: a\nport: 2", "port is given twice, in lines 1 and 3"),
        ("backends:\n  - url: http://a:1\n    name: a\n    url: http://b:1", "url is given twice, in lines 2 and 4"),
        ("prot: 80", "prot"),
        ("port: many", "port"),
        ("backends: [{url: gpu}]", r"backends\.0\.url"),
        ("backends: [{url: 'http://gpu:99999999'}]", r"backends\.0\.url"),
        ("backends: [{url: 'http://:80'}]", r"backends\.0\.url"),
        ("backends: [{url: 'http://user:secret@gpu:8188'}]", r"backends\.0\.url.*by `headers`"),
        ("public_url: nonsense", "public_url"),
        ("public_url: 'https://a.example/?page=1'", "public_url"),
        ("models_url: 'ftp://a.example'", "models_url"),
        ("link_hours: 0", "link_hours"),
        ("cors_origins: [studio.example.org]", "cors_origins"),
        ("cors_origins: ['https://a.example/page']", "cors_origins"),
        ("api_keys: maybe", "api_keys"),
        ("fetch_networks: [10.1.0.0/33]", "fetch_networks"),
        ("fetch_networks: [10.1.2.3/16]", "fetch_networks"),
        ("civitai_url: http://mirror:99999", "civitai_url"),
        ("shelf_gb: .inf", "shelf_gb"),
        ("store_gb: 0.0159", r"store_gb: 0\.0159 is less than 0\.016"),
        ("store_gb: 0", "store_gb"),
        ("link_hours: .nan", "link_hours"),
        ("civitai_hosts: ['http://']", "civitai_hosts"),
        ("civitai_hosts: ['http://a:99999']", "civitai_hosts"),
        ("civitai_hosts: ['a b']", "civitai_hosts"),
        ('civitai_key: "a\\nb"', "civitai_key"),
        ("[" * 20000, "cannot be read"),
        ("[1, 2]", "names and values"),
        ("a: b: c", "cannot be read"),
    ],
)
def test_a_bad_setting_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        load(write(tmp_path, text), {})
    assert "secret" not in caught.value.detail
    assert not any(word in caught.value.detail for word in ("Value error", "tuple", "dictionary", "pattern", "Extra"))


async def test_the_smallest_store_takes_a_job(tmp_path: Path) -> None:
    settings = load(write(tmp_path, "{store_gb: 0.016, disk_floor_gb: 0}"), {}, data=tmp_path)
    async with image_store(settings) as store:
        store.ensure_room()


def test_a_backend_without_a_name_is_called_by_its_host_and_port(tmp_path: Path) -> None:
    (backend,) = load(write(tmp_path, "backends: [{url: 'http://gpu:8188/'}]"), {}).backends
    assert backend.called == "gpu:8188"


def test_backends_behind_one_address_are_told_apart_by_their_headers(tmp_path: Path) -> None:
    entries = ", ".join(f"{{url: 'http://proxy', name: {name}, headers: {{X-GPU: {name}}}}}" for name in "ab")
    assert len(load(write(tmp_path, f"backends: [{entries}]"), {}).backends) == 2


def test_a_merged_value_may_be_given_anew(tmp_path: Path) -> None:
    text = "backends:\n  - &a {kind: managed, device: 0}\n  - {<<: *a, device: 1}"
    assert [backend.called for backend in load(write(tmp_path, text), {}).backends] == ["comfyui-0", "comfyui-1"]


def test_links_may_begin_with_a_path_behind_a_proxy() -> None:
    url = "https://pictures.example.org/api/"
    assert load(None, {"ORCHESTRATOR_PUBLIC_URL": url}).public_url == url


@pytest.mark.parametrize("name", ["ORCHESTRATOR_PORTT", "ORCHESTRATOR_port", "ORCHESTRATOR_"])
def test_a_variable_that_is_no_setting_stops_the_start_with_what_may_be_meant(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is no setting; is ORCHESTRATOR_"):
        load(None, {name: "9000"})
    with pytest.raises(SettingsError, match="is ORCHESTRATOR_PORT meant"):
        load(None, {"ORCHESTRATOR_PORTT": "9000"})


def test_variables_of_the_client_the_packs_and_the_platform_are_left_alone() -> None:
    names = ("URL", "API_KEY", "PUBLISH_KEY", "SERVICE_HOST", "SERVICE_PORT_HTTP", "PORT_8080_TCP_ADDR")
    assert load(None, {f"ORCHESTRATOR_{name}": "x" for name in names} | {"HOME": "/"}) == load(None, {})


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path / "none.yaml", {})


def test_a_key_is_taken_without_the_line_end_of_its_file() -> None:
    assert load(None, {"ORCHESTRATOR_CIVITAI_KEY": " k3y\n"}).civitai_key == "k3y"
