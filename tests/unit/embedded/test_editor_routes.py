"""What the editor asks of a backend besides prompts: files of packs and templates, views of pictures, who may ask."""

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import FormData, web
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image

from orchestrator.comfy.known import core_object_info
from orchestrator.embedded.backend import Backend
from orchestrator.embedded.checkpoint import Shelf
from orchestrator.embedded.engine import Setting
from orchestrator.embedded.folders import Folders
from orchestrator.embedded.monitor import Monitor
from orchestrator.embedded.nodes import core_classes

Client = TestClient[web.Request, web.Application]
MODULE_LOOP = pytest.mark.asyncio(loop_scope="module")
pytestmark = MODULE_LOOP

PACK = """
from aiohttp import web
from server import PromptServer

NODE_CLASS_MAPPINGS = {}
WEB_DIRECTORY = "./js"

@PromptServer.instance.routes.post("/pack/{word}/said")
async def said(request):
    return web.json_response({"word": request.match_info["word"], "body": await request.json()})
"""
OUTSIDE_PACK = 'NODE_CLASS_MAPPINGS = {}\nWEB_DIRECTORY = "../.."\n'
DRAWING = {
    "nodes": [
        {"id": 1, "pos": [0, 0], "size": [200, 100], "bgcolor": "#335533"},
        {"id": 2, "pos": {"0": 400, "1": 0}, "size": [200, 100]},
    ],
    "links": [[1, 1, 0, 2, 0, "MODEL"]],
}


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("editor")
    _write(root / "packs" / "some pack" / "__init__.py", PACK)
    _write(root / "packs" / "some pack" / "js" / "deep" / "script.js", "export const here = 1;")
    _write(root / "packs" / "some pack" / "secret.txt", "not for browsers")
    _write(root / "packs" / "some pack" / "example_workflows" / "shown.json", "{}")
    _write(root / "packs" / "some pack" / "locales" / "en" / "main.json", '{"word": {"a": 1, "b": 1}}')
    _write(root / "packs" / "some pack" / "locales" / "en" / "commands.json", '{"Some": {"label": "Do"}}')
    _write(root / "packs" / "other" / "__init__.py", OUTSIDE_PACK)
    _write(root / "packs" / "other" / "locales" / "en" / "main.json", '{"word": {"b": 2}}')
    _write(root / "workflows" / "some-house" / "workflow.json", json.dumps(DRAWING))
    _write(root / "workflows" / "torn" / "workflow.json", "{")
    return root


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(folder: Path) -> AsyncIterator[Client]:
    folders = Folders(folder / "models", folder / "files", folder / "user", folder / "workflows")
    backend = Backend(Setting(folders, folder / "packs"), lambda: pytest.fail("the worker has failed"))
    async with TestClient(TestServer(backend.app)) as client:
        backend.start()
        yield client
        await backend.close()


async def test_a_packs_scripts_are_listed_and_served_and_nothing_else_of_it(client: Client) -> None:
    async with client.get("/api/extensions") as answer:
        listed = await answer.json()
    ours = [path for path in listed if "pack" in path or "other" in path]
    assert ours == ["/extensions/some%20pack/deep/script.js"]
    async with client.get("/extensions/some pack/deep/script.js") as answer:
        assert (answer.status, answer.content_type) == (200, "text/javascript")
        assert answer.headers["Cache-Control"] == "no-cache"
    for path in (
        "/extensions/some pack/../secret.txt",
        "/extensions/some%20pack/%2e%2e/secret.txt",
        "/extensions/other/x",
    ):
        async with client.get(path) as answer:
            assert answer.status == 404


async def test_a_packs_route_answers_with_and_without_the_prefix(client: Client) -> None:
    for prefix in ("", "/api"):
        async with client.post(f"{prefix}/pack/hello/said", json=[1]) as answer:
            assert await answer.json() == {"word": "hello", "body": [1]}
    async with client.get("/pack/hello/said") as answer:
        assert answer.status == 405


async def test_texts_and_examples_of_packs_are_put_together(client: Client) -> None:
    async with client.get("/api/i18n") as answer:
        assert await answer.json() == {"en": {"word": {"a": 1, "b": 1}, "commands": {"Some": {"label": "Do"}}}}
    async with client.get("/api/workflow_templates") as answer:
        assert await answer.json() == {"some pack": ["shown"]}
    async with client.get("/api/workflow_templates/some pack/shown.json") as answer:
        assert await answer.json() == {}
    async with client.get("/api/workflow_templates/some pack/hidden.json") as answer:
        assert answer.status == 404


async def test_the_services_workflows_are_templates_with_a_picture_of_the_drawing(client: Client) -> None:
    async with client.get("/templates/index.json") as answer:
        (group,) = await answer.json()
    assert [(one["name"], one["title"]) for one in group["templates"]] == [
        ("some-house", "Some house"),
        ("torn", "Torn"),
    ]
    async with client.get("/templates/some-house.json") as answer:
        assert await answer.json() == DRAWING
    async with client.get("/templates/some-house-1.png") as answer:
        picture = Image.open(io.BytesIO(await answer.read())).convert("RGB")
    assert picture.size == (480, 300)
    assert picture.getpixel((60, 150)) == (0x33, 0x55, 0x33)
    assert picture.getpixel((420, 150)) == (0x4A, 0x4A, 0x52)
    assert picture.getpixel((240, 150)) != picture.getpixel((240, 20)), "a wire joins them"
    for path in ("/templates/torn-1.png", "/templates/nowhere.json", "/templates/..%2F..%2Fuser.json"):
        async with client.get(path) as answer:
            assert answer.status == 404


async def test_pages_of_other_addresses_and_names_are_refused(client: Client) -> None:
    port = client.port
    foreign = [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{port + 1}"},
        {"Host": f"rebound.example:{port}", "Origin": f"http://rebound.example:{port}"},
        {"Host": "rebound.example"},
    ]
    for headers in foreign:
        async with client.post("/api/settings/x", json=1, headers=headers) as answer:
            assert answer.status == 403, headers
        async with client.get("/ws", headers=headers) as answer:
            assert answer.status == 403, headers
    for headers in ({"Origin": f"http://127.0.0.1:{port}"}, {"Host": "localhost", "Origin": "http://localhost"}, {}):
        async with client.get("/api/settings", headers=headers) as answer:
            assert answer.status == 200, headers


def _see_through(colour: tuple[int, int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", (6, 4), colour).save(buffer, "PNG")
    return buffer.getvalue()


async def _upload(client: Client, path: str, data: bytes, **fields: str) -> dict[str, str]:
    form = FormData(fields)
    form.add_field("image", data, filename="a.png", content_type="image/png")
    async with client.post(path, data=form) as answer:
        assert answer.status == 200, await answer.text()
        told: dict[str, str] = await answer.json()
    return told


async def _viewed(client: Client, place: dict[str, str], **more: str) -> tuple[str, Image.Image]:
    where = {"filename": place["name"], "subfolder": place["subfolder"], "type": place["type"]}
    async with client.get("/view", params=where | more) as answer:
        assert answer.status == 200, await answer.text()
        return answer.content_type, Image.open(io.BytesIO(await answer.read()))


async def test_a_picture_is_seen_small_in_colours_alone_and_in_opacity_alone(client: Client) -> None:
    place = await _upload(client, "/upload/image", _see_through((200, 100, 50, 0)), overwrite="true")
    kind, picture = await _viewed(client, place, channel="rgb")
    assert (kind, picture.mode, picture.getpixel((0, 0))) == ("image/png", "RGB", (200, 100, 50))
    kind, picture = await _viewed(client, place, channel="a")
    assert (kind, picture.getpixel((0, 0))) == ("image/png", (0, 0, 0, 0))
    assert (await _viewed(client, place, preview="webp;50"))[0] == "image/webp"
    assert (await _viewed(client, place, preview="jpeg;0"))[0] == "image/webp", "a JPEG would lose the mask"
    assert (await _viewed(client, place, preview="jpeg;50", channel="rgb"))[0] == "image/jpeg"


async def test_a_painted_mask_becomes_the_pictures_opacity(client: Client) -> None:
    place = await _upload(client, "/upload/image", _see_through((9, 8, 7, 255)), overwrite="true")
    reference = json.dumps({"filename": place["name"], "subfolder": "", "type": "input"})
    mask = _see_through((0, 0, 0, 30))
    painted = await _upload(
        client, "/upload/mask", mask, subfolder="clipspace", overwrite="true", original_ref=reference
    )
    _, picture = await _viewed(client, painted)
    assert picture.getpixel((0, 0)) == (9, 8, 7, 30)
    for bad in (
        "{}",
        "no json",
        json.dumps({"filename": "../../user", "type": "input"}),
        json.dumps({"filename": "x"}),
    ):
        form = FormData({"original_ref": bad})
        form.add_field("image", mask, filename="a.png")
        async with client.post("/upload/mask", data=form) as answer:
            assert answer.status == 400, bad


async def test_model_files_are_told_with_size_and_their_own_words(client: Client, folder: Path) -> None:
    header = json.dumps({"__metadata__": {"title": "Small"}}).encode()
    file = folder / "models" / "loras" / "small.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    async with client.get("/api/experiment/models/loras") as answer:
        (told,) = await answer.json()
    assert (told["name"], told["size"], told["pathIndex"]) == ("small.safetensors", 8 + len(header), 0)
    async with client.get("/view_metadata/loras", params={"filename": "small.safetensors"}) as answer:
        assert await answer.json() == {"title": "Small"}
    for name in ("none.safetensors", "../loras/../../user", ""):
        async with client.get("/view_metadata/loras", params={"filename": name}) as answer:
            assert answer.status == 404


async def test_the_places_of_models_are_told_by_kind_and_not_where_they_lie(client: Client, folder: Path) -> None:
    async with client.get("/internal/folder_paths") as answer:
        assert (await answer.json())["checkpoints"] == ["models/checkpoints"]
    async with client.get("/api/experiment/models") as answer:
        assert (await answer.json())[0] == {"name": "checkpoints", "folders": ["models/checkpoints"]}
    for route in ("/internal/folder_paths", "/api/experiment/models"):
        async with client.get(route) as answer:
            assert str(folder) not in await answer.text(), route


async def test_core_classes_are_described_as_comfyui_does(tmp_path: Path) -> None:
    """But for what lies in its folders, and samplers and methods that do not run here."""
    folders = Folders(tmp_path, tmp_path)
    folders.prepare()
    known = core_object_info()
    assert isinstance(known, dict)
    loaders = 0
    for kind in core_classes(folders, Shelf(), Monitor()):
        ours, theirs = kind.describe(), known[kind.name]
        for fact in ("name", "category", "output", "output_name", "output_node", "input_order"):
            assert ours[fact] == theirs[fact], (kind.name, fact)
        assert (ours["display_name"]) == (theirs.get("display_name") or kind.name)
        loaders += kind.name.endswith(("Loader", "LoaderSimple", "LoaderModelOnly"))
    assert loaders == 10, "the editor draws no combo box without them"
