"""Every session recorded from a real ComfyUI 0.3.64, played to our client: what we make of it must be what happened."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from orchestrator.comfy.catalog import Catalog
from orchestrator.comfy.client import BackendClient, Limits
from orchestrator.comfy.execution import Execution, ImageRef, Progress
from orchestrator.comfy.graph import Graph
from orchestrator.comfy.messages import Executing, PreviewFrame, Status, Unknown, parse_frame, parse_message
from orchestrator.comfy.rejection import explain
from orchestrator.errors import ExecutionFailed, GraphRejected, JobInterrupted
from tests.fakes.comfyui import FakeComfyUI
from tests.fakes.recorded import Recording

FOLDER = Path(__file__).parent / "sessions"
SESSIONS = sorted(path.stem for path in FOLDER.glob("*.jsonl"))
LIMITS = Limits(connect=1.0, request=5.0, transfer=5.0, poll=0.2, grace=1.0, abandon=1.0)


def session(name: str) -> Recording:
    return Recording.load(FOLDER / f"{name}.jsonl")


def graphs(recording: Recording) -> list[Graph]:
    """What the recorder submitted, in order."""
    bodies = [line["request"] for line in recording.requests("POST /prompt")]
    return [Graph.from_api(body["prompt"]) for body in bodies if body and "prompt" in body]


@asynccontextmanager
async def playing(name: str, poll: float = 60.0) -> AsyncIterator[tuple[FakeComfyUI, BackendClient, list[Graph]]]:
    recording = session(name)
    limits = Limits(**{**vars(LIMITS), "poll": poll})
    async with FakeComfyUI(recording=recording) as fake, BackendClient(fake.url, name=name, limits=limits) as client:
        await client.opened()
        yield fake, client, graphs(recording)


def test_all_nine_sessions_are_here():
    assert len(SESSIONS) == 9


@pytest.mark.parametrize("name", SESSIONS)
def test_every_recorded_text_is_a_known_message(name):
    texts = session(name).texts
    assert texts
    assert not [text for text in texts if isinstance(parse_message(json.dumps(text)), Unknown)]


@pytest.mark.parametrize("name", SESSIONS)
def test_every_recorded_graph_is_read_and_written_unchanged(name):
    for line in session(name).requests("POST /prompt"):
        if line["request"] and "prompt" in line["request"]:
            written = Graph.from_api(line["request"]["prompt"]).to_api()
            for node in written.values():
                del node["_meta"]
            assert written == line["request"]["prompt"]


@pytest.mark.parametrize("name", ["success", "success_all_cached", "other_client_sees_only_status"])
async def test_a_success_yields_its_picture_without_waiting_for_a_poll(name):
    async with playing(name) as (fake, client, (graph,)):
        assert await client.run(graph, str(uuid4()), "14", deadline=10) == fake.result_png


async def test_a_run_from_the_cache_fetches_the_picture_that_its_history_names():
    async with playing("success_all_cached") as (fake, client, (graph,)):
        await client.run(graph, str(uuid4()), "14", deadline=10)
        assert fake.requests("GET /view") == [{"filename": "t_00002_.png", "subfolder": "", "type": "output"}]


async def test_a_success_tells_every_step_of_its_sampler():
    recording = session("success")
    (graph,) = graphs(recording)
    prompt_id = recording.requests("POST /prompt")[0]["request"]["prompt_id"]
    execution = Execution(prompt_id, graph)
    messages = [parse_message(json.dumps(text)) for text in recording.texts]
    told = [execution.progress for message in messages if execution.fold(message)]
    steps = [progress.step for progress in told if progress.node_title == "KSampler" and progress.steps == 3]
    assert steps == [1, 2, 3, 3]
    assert told[0] == Progress("", 0, 0, 1, 10)
    assert told[-1].nodes_done == 10
    outcome = execution.outcome(recording.entry(prompt_id))
    assert outcome.images == {"14": (ImageRef("t_00002_.png", "", "output"),)}


def test_success_is_told_before_the_history_is_written_and_the_end_after():
    texts = [parse_message(json.dumps(text)) for text in session("success").texts]
    assert isinstance(texts[-2], Status)
    assert isinstance(texts[-1], Executing)
    assert texts[-1].node is None


async def test_a_picture_sent_over_the_websocket_is_recognised_and_leaves_none_in_the_history():
    recording = session("success_save_image_websocket")
    head = next(bytes.fromhex(line["ws_binary_head"]) for line in recording.lines if "ws_binary_head" in line)
    assert parse_frame(head) == PreviewFrame("png", b"\x89PNG\r\n\x1a\n")
    async with playing("success_save_image_websocket") as (_, client, (graph,)):
        with pytest.raises(ExecutionFailed, match=r'"SaveImageWebsocket" .* no image'):
            await client.run(graph, str(uuid4()), "14", deadline=10)


async def test_an_execution_error_names_node_class_and_text():
    async with playing("execution_error") as (_, client, (graph,)):
        with pytest.raises(ExecutionFailed) as caught:
            await client.run(graph, str(uuid4()), "14", deadline=10)
    reason = "PIL.UnidentifiedImageError: cannot identify image file '/srv/ComfyUI/input/broken.png'"
    assert caught.value.detail == f'"LoadImage" (LoadImage): {reason}'


async def test_an_interruption_ends_the_run_as_interrupted():
    async with playing("interrupted") as (fake, client, (graph,)):
        prompt_id, sampling = str(uuid4()), asyncio.Event()

        async def watch(progress: Progress) -> None:
            if progress.steps == 400:
                sampling.set()

        run = asyncio.create_task(client.run(graph, prompt_id, "14", deadline=10, on_progress=watch))
        async with asyncio.timeout(5):
            await sampling.wait()
        await client.cancel(prompt_id)
        with pytest.raises(JobInterrupted, match=r'"KSampler" \(KSampler\)'):
            await run
        assert fake.requests("POST /interrupt") == [{"prompt_id": prompt_id}]


async def test_a_deleted_job_ends_though_nothing_is_ever_said_of_it_and_the_other_one_succeeds():
    async with playing("delete_queued") as (fake, client, (first_graph, second_graph)):
        second_id = str(uuid4())
        first = asyncio.create_task(client.run(first_graph, str(uuid4()), "14", deadline=10))
        while len(fake.prompts) < 1:
            await asyncio.sleep(0.005)
        second = asyncio.create_task(client.run(second_graph, second_id, "14", deadline=10))
        while len(fake.prompts) < 2:
            await asyncio.sleep(0.005)
        await client.cancel(second_id)
        with pytest.raises(JobInterrupted, match="cancelled"):
            await second
        assert await first == fake.result_png


REFUSALS = [
    '"CheckpointLoaderSimple" (CheckpointLoaderSimple): input ckpt_name: Value not in list '
    "('missing.safetensors' not in ['tiny.safetensors'])",
    '"KSampler" (KSampler): input steps: Value -5 smaller than min of 1; "KSampler" (KSampler): input cfg: '
    'Required input is missing; "KSampler" (KSampler): input sampler_name: Value not in list '
    "('nope' not in (list of length 42))",
    '"NoSuchNode" (NoSuchNode): Cannot execute because node NoSuchNode does not exist.',
    "Prompt has no outputs",
    '"LoadImage" (LoadImage): input image: Custom validation failed for node (Invalid image file: nofile.png)',
    '"KSampler" (KSampler): input latent_image, linked to "SetLatentNoiseMask" (SetLatentNoiseMask): '
    "Exception when validating inner node (tuple index out of range)",
    '"VAEDecode" (VAEDecode): input samples: Return type mismatch between linked nodes '
    "(received_type(MODEL) mismatch input_type(LATENT))",
]


async def test_each_refused_graph_is_explained_by_node_and_input():
    async with playing("validation_errors") as (_, client, refused):
        texts = []
        for graph in refused:
            with pytest.raises(GraphRejected) as caught:
                await client.run(graph, str(uuid4()), "14", deadline=10)
            texts.append(caught.value.detail)
    assert texts == REFUSALS


def test_a_refusal_without_a_node_is_still_explained():
    last = session("validation_errors").requests("POST /prompt")[-1]
    (graph,) = graphs(session("success"))
    assert explain(graph, last["response"]) == "No prompt provided"


def test_the_recorded_declaration_of_a_node_is_read():
    (line,) = session("introspection").requests("GET /object_info/KSampler")
    sampler = Catalog.from_object_info(line["response"]).classes["KSampler"]
    assert sampler.inputs["steps"].maximum == 10000
    assert list(sampler.inputs)[:5] == ["model", "seed", "steps", "cfg", "sampler_name"]
