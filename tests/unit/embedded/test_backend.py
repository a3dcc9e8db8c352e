"""A whole backend in this process, spoken to by HTTP and websocket, with a tiny checkpoint."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import torch
from aiohttp import FormData, WSMsgType
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image
from safetensors.torch import save_file

from orchestrator.embedded.backend import Backend
from orchestrator.embedded.engine import Setting
from orchestrator.embedded.folders import Folders
from tests.unit.embedded.graphs import node, painting

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SECONDS = 120.0

PACK = """
class Doubled:
    INPUT_TYPES = classmethod(lambda cls: {"required": {"mask": ("MASK",)}})
    RETURN_TYPES = ("MASK",)
    FUNCTION = "double"

    def double(self, mask):
        import folder_paths

        assert folder_paths.get_temp_directory()
        return (mask * 2,)


NODE_CLASS_MAPPINGS = {"Doubled": Doubled}
NODE_DISPLAY_NAME_MAPPINGS = {"Doubled": "Twice as much"}
"""


class Served:
    """A client of the backend, and the folders behind it."""

    def __init__(self, client: TestClient[Any, Any], folders: Folders) -> None:
        self.http = client
        self.folders = folders

    async def get(self, path: str) -> Any:
        async with self.http.get(path) as answer:
            assert answer.status == 200
            return await answer.json()

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        async with self.http.post(path, json=body) as answer:
            text = await answer.text()
            return answer.status, await answer.json() if text else None

    async def upload(self, name: str = "a.png", **fields: str) -> tuple[int, Any]:
        buffer = io.BytesIO()
        Image.new("RGB", (24, 16), (250, 10, 20)).save(buffer, "PNG")
        form = FormData(fields)
        form.add_field("image", buffer.getvalue(), filename=name, content_type="image/png")
        async with self.http.post("/upload/image", data=form) as answer:
            return answer.status, await answer.json() if answer.status == 200 else None

    async def ended(self, prompt_id: str) -> dict[str, Any]:
        async with asyncio.timeout(_SECONDS):
            while not (history := await self.get(f"/history/{prompt_id}")):
                await asyncio.sleep(0.01)
        entry: dict[str, Any] = history[prompt_id]
        return entry

    async def run(self, prompt_id: str, graph: dict[str, Any]) -> dict[str, Any]:
        status, answer = await self.post("/prompt", {"prompt": graph, "prompt_id": prompt_id})
        assert status == 200, answer
        return await self.ended(prompt_id)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    folders = Folders(models, tmp_path_factory.mktemp("files"))
    pack = tmp_path_factory.mktemp("nodes") / "some_pack"
    pack.mkdir()
    (pack / "__init__.py").write_text(PACK)
    (pack.parent / "broken").mkdir()
    (pack.parent / "broken" / "__init__.py").write_text("import does_not_exist_at_all\n")
    backend = Backend(Setting(folders, pack.parent), lambda: pytest.fail("the worker has failed"))
    async with TestClient(TestServer(backend.app)) as client:
        backend.start()
        yield Served(client, folders)
        await backend.close()


async def test_the_catalogue_holds_core_nodes_and_the_packs(served: Served) -> None:
    catalogue = await served.get("/object_info")
    assert catalogue["KSampler"]["input"]["required"]["steps"] == ["INT", {"default": 20, "min": 1, "max": 10000}]
    assert catalogue["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"] == [["tiny.safetensors"]]
    assert catalogue["Doubled"]["display_name"] == "Twice as much"
    assert catalogue["Doubled"]["output"] == ["MASK"]
    assert (await served.get("/api/object_info/VAEDecode")).keys() == {"VAEDecode"}


async def test_a_prompt_becomes_a_picture_that_can_be_fetched(served: Served) -> None:
    entry = await served.run("painting", painting())
    assert entry["status"]["status_str"] == "success", entry["status"]
    (shown,) = entry["outputs"]["7"]["images"]
    async with served.http.get("/view", params=shown) as answer:
        assert answer.headers["Content-Type"] == "image/png"
        picture = Image.open(io.BytesIO(await answer.read()))
    assert picture.size == (32, 16)
    assert '"CheckpointLoaderSimple"' in picture.info["prompt"]


async def test_the_same_prompt_and_seed_give_the_same_picture_and_a_lora_another(served: Served) -> None:
    lora = node(
        "LoraLoader", model=["1", 0], clip=["1", 1], lora_name="middle.safetensors", strength_model=4, strength_clip=1
    )
    pictures = []
    for name, graph in (("plain", painting()), ("lora", painting(model=["8", 0]) | {"8": lora}), ("again", painting())):
        (shown,) = (await served.run(name, graph))["outputs"]["7"]["images"]
        file = served.folders.of("temp") / shown["filename"]
        pictures.append(Image.open(file).tobytes())
    assert pictures[0] == pictures[2] != pictures[1]


async def test_a_client_hears_of_its_own_prompt_and_others_only_of_the_queue(served: Served) -> None:
    heard: dict[str, list[dict[str, Any]]] = {"mine": [], "theirs": []}

    async def listen(name: str) -> None:
        async with served.http.ws_connect(f"/ws?clientId={name}") as socket:
            async for message in socket:
                if message.type is WSMsgType.BINARY:
                    continue
                heard[name].append(message.json())
                if message.json()["type"] == "executing" and message.json()["data"]["node"] is None:
                    history = await served.get("/history/heard")
                    assert history, "the history is written before the last message"
                    return

    tasks = [asyncio.create_task(listen(name)) for name in heard]
    async with asyncio.timeout(_SECONDS):
        while not all(heard.values()):
            await asyncio.sleep(0.01)
        body = {"prompt": painting(seed=77), "prompt_id": "heard", "client_id": "mine"}
        await served.post("/prompt", body)
        await tasks[0]
    tasks[1].cancel()
    kinds = [message["type"] for message in heard["mine"]]
    assert heard["mine"][0]["data"] == {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "mine"}
    assert kinds[1:5] == ["status", "status", "execution_start", "execution_cached"]
    assert kinds[-4:] == ["progress_state", "execution_success", "status", "executing"]
    assert kinds.count("progress") == 2
    assert {message["type"] for message in heard["theirs"]} == {"status"}


async def test_an_interrupt_stops_a_run_between_steps(served: Served) -> None:
    await served.post("/prompt", {"prompt": painting(steps=10000), "prompt_id": "endless"})
    async with asyncio.timeout(_SECONDS):
        while not (await served.get("/queue"))["queue_running"]:
            await asyncio.sleep(0.01)
    assert (await served.post("/interrupt", {"prompt_id": "another"}))[0] == 200
    assert await served.get("/history/endless") == {}
    assert (await served.post("/interrupt", {"prompt_id": "endless"}))[0] == 200
    entry = await served.ended("endless")
    assert entry["status"]["status_str"] == "error"
    assert entry["status"]["messages"][-1][0] == "execution_interrupted"


async def test_a_waiting_prompt_can_be_taken_back(served: Served) -> None:
    await served.post("/prompt", {"prompt": painting(steps=10000, seed=2), "prompt_id": "first"})
    await served.post("/prompt", {"prompt": painting(steps=10000, seed=3), "prompt_id": "second"})
    assert await served.get("/prompt") == {"exec_info": {"queue_remaining": 2}}
    await served.post("/queue", {"delete": ["second"]})
    assert (await served.get("/queue"))["queue_pending"] == []
    async with asyncio.timeout(_SECONDS):
        while not (await served.get("/queue"))["queue_running"]:
            await asyncio.sleep(0.01)
    await served.post("/interrupt", {})
    await served.ended("first")
    assert await served.get("/history/second") == {}


async def test_a_link_to_nowhere_in_an_input_that_is_not_declared_does_no_harm(served: Served) -> None:
    graph = painting(seed=71)
    for part in graph.values():
        part["inputs"]["zzz"] = ["nope", 0]
    assert (await served.run("00000000-0000-4000-8000-000000000071", graph))["status"]["status_str"] == "success"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/queue", {"delete": [[1], None, "no such prompt"]}),
        ("/history", {"delete": {"a": 1}}),
        ("/prompt", {"prompt": painting(seed=72), "extra_data": "abc", "client_id": [1]}),
    ],
)
async def test_values_of_the_wrong_kind_are_passed_over_as_in_comfyui(served: Served, path: str, body: Any) -> None:
    status, _ = await served.post(path, body)
    assert status == 200


async def test_a_name_that_no_file_can_have_is_not_found(served: Served) -> None:
    async with served.http.get("/view", params={"filename": "\0.png"}) as answer:
        assert answer.status == 404


async def test_history_is_listed_and_forgotten(served: Served) -> None:
    status, answer = await served.upload(type="temp")
    graph = {"1": node("LoadImage", image=f"{answer['name']} [temp]"), "2": node("PreviewImage", images=["1", 0])}
    for name in ("one", "two", "three"):
        await served.run(name, graph)
    assert list(await served.get("/history?max_items=2")) == ["two", "three"]
    await served.post("/history", {"delete": ["two"]})
    assert await served.get("/history/two") == {}
    await served.post("/history", {"clear": True})
    assert await served.get("/history") == {}
    assert status == 200


async def test_an_uploaded_picture_can_be_loaded_and_a_pack_node_runs_on_it(served: Served) -> None:
    _, answer = await served.upload("b.png", type="temp", subfolder="deep/er", overwrite="true")
    assert answer == {"name": "b.png", "subfolder": "deep/er", "type": "temp"}
    graph = {
        "1": node("LoadImageMask", image="deep/er/b.png [temp]", channel="green"),
        "2": node("Doubled", mask=["1", 0]),
        "3": node("LoadImage", image="deep/er/b.png [temp]"),
        "4": node("InvertMask", mask=["2", 0]),
        "5": node(
            "ImageCompositeMasked", destination=["3", 0], source=["3", 0], x=0, y=0, resize_source=False, mask=["4", 0]
        ),
        "6": node("SaveImage", images=["5", 0], filename_prefix="kept/%width%"),
    }
    entry = await served.run("pack", graph)
    assert entry["outputs"]["6"]["images"] == [{"filename": "24_00001_.png", "subfolder": "kept", "type": "output"}]
    saved = Image.open(served.folders.of("output") / "kept/24_00001_.png")
    assert saved.getpixel((3, 3)) == (250, 10, 20)


async def test_another_file_of_the_same_name_gets_a_name_of_its_own(served: Served) -> None:
    (served.folders.of("input") / "c.png").write_bytes(b"something else")
    assert (await served.upload("c.png"))[1]["name"] == "c (1).png"
    assert (await served.upload("c.png"))[1]["name"] == "c (1).png", "the same contents are stored once"
    assert (await served.upload("c.png", overwrite="true"))[1]["name"] == "c.png"


@pytest.mark.parametrize("fields", [{"subfolder": "../.."}, {"subfolder": "/etc"}, {"type": "elsewhere"}])
async def test_an_upload_cannot_leave_its_folder(served: Served, fields: dict[str, str]) -> None:
    assert (await served.upload(**fields))[0] == 400


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"filename": "../../secret"}, 403),
        ({"filename": "/etc/hostname"}, 403),
        ({"filename": "x", "subfolder": "../.."}, 403),
        ({"filename": "x", "type": "elsewhere"}, 403),
        ({"filename": "missing.png"}, 404),
        ({}, 404),
    ],
)
async def test_a_view_cannot_leave_its_folder(served: Served, query: dict[str, str], status: int) -> None:
    async with served.http.get("/view", params=query) as answer:
        assert answer.status == status


async def test_a_picture_out_of_the_folders_is_an_invalid_image(served: Served) -> None:
    graph = {"1": node("LoadImage", image="../../etc/passwd"), "2": node("PreviewImage", images=["1", 0])}
    status, answer = await served.post("/prompt", {"prompt": graph})
    assert status == 400
    (error,) = answer["node_errors"]["1"]["errors"]
    assert error["details"] == "image - Invalid image file: ../../etc/passwd"


async def test_a_picture_that_is_none_fails_when_it_is_read(served: Served) -> None:
    (served.folders.of("temp") / "broken.png").write_bytes(b"not a picture")
    graph = {"1": node("LoadImage", image="broken.png [temp]"), "2": node("PreviewImage", images=["1", 0])}
    entry = await served.run("broken", graph)
    kind, error = entry["status"]["messages"][-1]
    assert kind == "execution_error"
    assert error["exception_type"] == "PIL.UnidentifiedImageError"


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"{}"])
async def test_a_body_without_a_prompt_is_a_400(served: Served, body: bytes) -> None:
    async with served.http.post("/prompt", data=body) as answer:
        assert answer.status == 400


async def test_a_checkpoint_of_another_family_fails_with_one_sentence(served: Served, models: Path) -> None:
    (models / "checkpoints" / "bad.safetensors").write_bytes(b"nothing")
    graph = painting() | {"1": node("CheckpointLoaderSimple", ckpt_name="bad.safetensors")}
    entry = await served.run("bad", graph)
    (models / "checkpoints" / "bad.safetensors").unlink()
    assert (
        "bad.safetensors is not a whole .safetensors file." in entry["status"]["messages"][-1][1]["exception_message"]
    )


async def test_a_lora_that_fits_nothing_fails_with_one_sentence(served: Served, models: Path) -> None:
    weights = {"lora_unet_x.lora_up.weight": torch.zeros(1, 1), "lora_unet_x.lora_down.weight": torch.zeros(1, 1)}
    save_file(weights, models / "loras/other.safetensors")
    lora = node(
        "LoraLoader", model=["1", 0], clip=["1", 1], lora_name="other.safetensors", strength_model=1, strength_clip=1
    )
    entry = await served.run("misfit", painting(model=["8", 0]) | {"8": lora})
    assert "other.safetensors does not fit" in entry["status"]["messages"][-1][1]["exception_message"]


async def test_memory_can_be_freed_and_is_filled_again(served: Served) -> None:
    assert (await served.post("/free", {"unload_models": True, "free_memory": True}))[0] == 200
    entry = await served.run("after", painting())
    assert entry["status"]["messages"][1][1]["nodes"] == []


async def test_the_small_routes_answer(served: Served) -> None:
    assert (await served.get("/system_stats"))["devices"][0]["type"] == "cpu"
    assert await served.get("/models/checkpoints") == ["tiny.safetensors"]
    assert "loras" in await served.get("/models")
    assert await served.get("/embeddings") == []
    assert (await served.get("/features"))["max_upload_size"] > 0
    async with served.http.get("/models/nothing") as answer:
        assert answer.status == 404
