"""What the editor keeps: confined to its folder, bounded, and as ComfyUI answers."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from orchestrator.embedded import user_files
from orchestrator.embedded.folders import OutsideFolder
from orchestrator.embedded.user_files import NoRoom, UserFiles
from orchestrator.embedded.user_routes import UserRoutes

Client = TestClient[web.Request, web.Application]

OUTSIDE = ["../secret", "a/../../secret", "/etc/passwd", "..", ".", "", "link/secret", "a\0b", "x" * 5000]


@pytest.fixture
def files(tmp_path: Path) -> UserFiles:
    root = tmp_path / "user"
    root.mkdir()
    (tmp_path / "secret").write_text("not the editor's")
    (root / "link").symlink_to(tmp_path)
    return UserFiles(root)


@pytest.fixture
async def client(files: UserFiles) -> AsyncIterator[Client]:
    app = web.Application()
    for method, path, handler in UserRoutes(files).table():
        app.router.add_route(method, path, handler)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_name_leads_out_of_the_folder(files: UserFiles, name: str, tmp_path: Path) -> None:
    for attempt in (
        lambda: files.write(name, b"mine"),
        lambda: files.path(name),
        lambda: files.delete(name),
        lambda: files.describe(name),
        lambda: files.move(name, "here"),
    ):
        with pytest.raises((OutsideFolder, OSError)):
            attempt()
    files.write("there", b"")
    with pytest.raises((OutsideFolder, OSError)):
        files.move("there", name)
    assert (tmp_path / "secret").read_text() == "not the editor's"
    assert {path.name for path in tmp_path.iterdir()} == {"user", "secret"}


@pytest.mark.parametrize(
    "name", ["..%2Fsecret", "%2e%2e%2fsecret", "..%252Fsecret", "%2Fetc%2Fpasswd", "link%2Fsecret"]
)
async def test_no_address_reads_changes_or_deletes_a_file_elsewhere(client: Client, name: str, tmp_path: Path) -> None:
    address = URL(f"/userdata/{name}", encoded=True)
    for method, url in (
        ("GET", address),
        ("POST", address),
        ("DELETE", address),
        ("POST", URL(f"/userdata/{name}/move/stolen", encoded=True)),
        ("GET", URL(f"/userdata?dir={name}", encoded=True)),
        ("GET", URL(f"/v2/userdata?path={name}", encoded=True)),
    ):
        async with client.request(method, url, data=b"mine" if method == "POST" else None) as answer:
            assert answer.status in (403, 404), (method, url, await answer.text())
    assert (tmp_path / "secret").read_text() == "not the editor's"


async def test_a_file_is_kept_listed_moved_and_deleted(client: Client) -> None:
    address = URL("/userdata/workflows%2Fdeep%2Fa%20house.json", encoded=True)
    async with client.post(address, json={"nodes": []}) as answer:
        assert await answer.json() == "workflows/deep/a house.json"
    async with client.post(address.update_query(overwrite="false"), json={}) as answer:
        assert answer.status == 409
    async with client.get(address) as answer:
        assert (await answer.json(), answer.headers["X-Content-Type-Options"]) == ({"nodes": []}, "nosniff")
    async with client.get("/userdata", params={"dir": "workflows"}) as answer:
        assert await answer.json() == []
    async with client.get("/userdata", params={"dir": "workflows", "recurse": "true", "split": "true"}) as answer:
        assert await answer.json() == [["deep/a house.json", "deep", "a house.json"]]
    async with client.get("/v2/userdata") as answer:
        assert [(entry["type"], entry["path"]) for entry in await answer.json()] == [
            ("directory", "workflows/deep"),
            ("directory", "workflows"),
            ("file", "workflows/deep/a house.json"),
        ]
    move = URL("/userdata/workflows%2Fdeep%2Fa%20house.json/move/b.json?full_info=true", encoded=True)
    async with client.post(move) as answer:
        told = await answer.json()
        assert (told["path"], told["size"]) == ("b.json", len('{"nodes": []}'))
    async with client.delete("/userdata/b.json") as answer:
        assert answer.status == 204
    async with client.get("/userdata/b.json") as answer:
        assert answer.status == 404


async def test_a_page_that_was_kept_is_not_shown_as_one(client: Client) -> None:
    async with client.post("/userdata/page.html", data=b"<script>alert(1)</script>"):
        pass
    async with client.get("/userdata/page.html") as answer:
        assert answer.content_type == "application/octet-stream"


async def test_what_the_editor_asks_for_before_it_is_kept_is_empty(client: Client) -> None:
    async with client.get("/userdata/user.css") as answer:
        assert (answer.status, answer.content_type, await answer.text()) == (200, "text/css", "")
    async with client.get("/userdata/comfy.templates.json") as answer:
        assert await answer.json() == []
    async with client.get(URL("/userdata/workflows%2F.index.json", encoded=True)) as answer:
        assert await answer.json() == {"favorites": []}


async def test_settings_are_kept_one_by_one_and_together(client: Client) -> None:
    async with client.post("/settings/Some.Name", json=3) as answer:
        assert answer.status == 200
    async with client.post("/settings", json={"Other": {"deep": True}}) as answer:
        assert answer.status == 200
    async with client.get("/settings") as answer:
        assert (await answer.json()).items() >= {"Some.Name": 3, "Other": {"deep": True}}.items()
    async with client.get("/settings/Some.Name") as answer:
        assert await answer.json() == 3
    async with client.get("/settings/Unknown") as answer:
        assert await answer.json() is None
    for bad in (b"[]", b"{", b"\xff"):
        async with client.post("/settings", data=bad) as answer:
            assert answer.status == 400


async def test_sizes_are_bounded(files: UserFiles, client: Client) -> None:
    with pytest.raises(NoRoom, match="larger"):
        files.write("large", bytes(user_files.FILE_LIMIT + 1))
    with pytest.raises(NoRoom, match="settings"):
        files.change_settings({"long": "x" * 1024 * 1024})
    for number in range(16):
        files.write(f"part{number}", bytes(user_files.FILE_LIMIT))
    with pytest.raises(NoRoom, match="together"):
        files.write("last", b"drop")
    async with client.post("/userdata/last", data=b"drop") as answer:
        assert answer.status == 507
    files.write("part0", b"a smaller one")
    files.write("last", b"drop")


async def test_a_body_that_is_too_large_is_refused(client: Client) -> None:
    async with client.post("/userdata/large", data=io.BytesIO(bytes(user_files.FILE_LIMIT + 1))) as answer:
        assert answer.status == 413
