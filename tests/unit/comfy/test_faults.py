import pytest

from orchestrator.comfy.faults import InputRefused, failure
from orchestrator.errors import BackendError, BackendLost, DeviceFault, ExecutionFailed, OutOfMemory
from tests.fakes.comfyui import FakeComfyUI
from tests.unit.comfy.graphs import client_of, picture_graph
from tests.unit.comfy.test_client import new_id

OOM = ("torch.OutOfMemoryError", "CUDA out of memory. Tried to allocate 20.00 MiB\n")
FAULT = ("RuntimeError", "CUDA error: device-side assert triggered\n")


@pytest.mark.parametrize(
    ("kind", "text", "error"),
    [
        (*OOM, OutOfMemory),
        ("torch.cuda.OutOfMemoryError", "Allocation on device 0 would exceed allowed memory", OutOfMemory),
        ("RuntimeError", "CUDA error: out of memory", OutOfMemory),
        (*FAULT, DeviceFault),
        ("torch.AcceleratorError", "CUDA error: an illegal memory access was encountered", DeviceFault),
        ("RuntimeError", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", DeviceFault),
        ("RuntimeError", "CUDA error: invalid argument", ExecutionFailed),
        ("ValueError", "the mask is empty", ExecutionFailed),
    ],
)
def test_an_exception_is_the_graphs_or_the_memorys_or_the_devices(
    kind: str, text: str, error: type[BackendError]
) -> None:
    assert type(failure(kind, text, "it")) is error


async def test_a_job_that_ran_out_of_memory_is_tried_once_more_after_memory_was_freed() -> None:
    # Long enough that the second run is looked at while it goes on, when the entry of the first must be gone.
    async with FakeComfyUI(run_seconds=0.8) as fake, client_of(fake.url) as client:
        fake.faults.raise_in, fake.faults.raise_times, fake.faults.raised = "KSampler", 1, OOM
        prompt_id = new_id()
        assert await client.run(picture_graph(), prompt_id, "9", deadline=10) == fake.result_png
        assert fake.requests("POST /free") == [{"unload_models": True, "free_memory": True}]
        assert [body["prompt_id"] for body in fake.requests("POST /prompt")] == [prompt_id] * 2
        assert (client.tally.done, client.tally.failed) == (1, 0)


async def test_a_job_that_runs_out_of_memory_twice_has_failed() -> None:
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        fake.faults.raise_in, fake.faults.raised = "KSampler", OOM
        with pytest.raises(OutOfMemory, match=r'"Sampler" \(KSampler\): .*out of memory'):
            await client.run(picture_graph(), new_id(), "9", deadline=10)
        assert len(fake.prompts) == 2


async def test_a_resumed_job_that_ran_out_of_memory_is_to_be_sent_again() -> None:
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        fake.faults.raise_in, fake.faults.raised = "KSampler", OOM
        prompt_id = new_id()
        with pytest.raises(OutOfMemory):
            await client.run(picture_graph(), prompt_id, "9", deadline=10)
        with pytest.raises(BackendLost):
            await client.run(picture_graph(), prompt_id, "9", deadline=10, resume=True)
        assert len(fake.prompts) == 2


async def test_a_device_that_failed_is_told_and_the_job_is_lost_rather_than_failed() -> None:
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        fake.faults.raise_in, fake.faults.raised = "KSampler", FAULT
        with pytest.raises(DeviceFault):
            await client.run(picture_graph(), new_id(), "9", deadline=10)
        assert "device-side assert" in await client.out_of_use()


@pytest.mark.parametrize("pack", ["orchestrator_pack_", "/comfy/custom_nodes/"])
async def test_a_text_that_a_node_cannot_use_is_told_with_its_node_and_is_no_failure_of_the_backend(pack: str) -> None:
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        fake.faults.raise_in, fake.faults.raised = "KSampler", (f"{pack}a1111_inpaint.prompt.TooLong", "too much\n")
        with pytest.raises(InputRefused, match=r'"Sampler" \(KSampler\)') as refused:
            await client.run(picture_graph(), new_id(), "9", deadline=10)
        assert (refused.value.node, refused.value.complaint) == ("4", "too much")
        assert (client.tally.done, client.tally.failed) == (0, 0)
