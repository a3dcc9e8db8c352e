import pytest

from orchestrator.comfy import messages
from orchestrator.comfy.execution import Execution, ImageRef, Progress
from orchestrator.errors import ExecutionFailed, JobInterrupted
from tests.unit.comfy.graphs import picture_graph


def execution() -> Execution:
    return Execution("p", picture_graph())


def entry(status_str="success", kept=(), outputs=None):
    return {"outputs": outputs or {}, "status": {"status_str": status_str, "completed": True, "messages": list(kept)}}


def test_progress_counts_cached_and_finished_nodes_and_steps():
    job = execution()
    assert job.progress == Progress("", 0, 0, 0, 6)
    job.fold(messages.ExecutionCached("p", ("1", "2")))
    job.fold(messages.Executing("p", "3"))
    assert job.progress == Progress("VAEEncode", 0, 0, 2, 6)
    job.fold(messages.Executing("p", "4"))
    job.fold(messages.Progress("p", "4", 3, 4))
    assert job.progress == Progress("Sampler", 3, 4, 3, 6)
    job.fold(messages.ProgressState("p", (messages.NodeProgress("4", 4, 4, "finished"),)))
    assert job.progress.nodes_done == 4


def test_fold_tells_whether_anything_changed():
    job = execution()
    assert job.fold(messages.Executing("p", "4"))
    assert not job.fold(messages.Executing("p", "4"))
    assert not job.fold(messages.ExecutionSuccess("p"))


def test_messages_of_other_jobs_and_of_none_change_nothing():
    job = execution()
    for prompt_id in ("q", None):
        assert not job.fold(messages.Executing(prompt_id, "4"))
        assert not job.fold(messages.Progress(prompt_id, "4", 1, 2))
    assert job.progress.node_title == ""


def test_nodes_that_a_backend_expanded_do_not_count():
    job = execution()
    job.fold(messages.ExecutionCached("p", ("1.0.0", "1.0.1")))
    assert job.progress.nodes_done == 0


def test_success_has_the_images_by_node():
    images = [{"filename": "a.png", "subfolder": "s", "type": "temp"}, {"filename": "b.png"}, {"nothing": 1}]
    outcome = execution().outcome(entry(outputs={"9": {"images": images}, "8": {"text": ["x"]}}))
    assert outcome.images == {"9": (ImageRef("a.png", "s", "temp"), ImageRef("b.png", "", "output"))}


def test_an_error_names_title_class_type_and_text():
    data = {
        "prompt_id": "p",
        "node_id": "4",
        "node_type": "KSampler",
        "exception_type": "RuntimeError",
        "exception_message": "out of range\n",
    }
    with pytest.raises(ExecutionFailed) as caught:
        execution().outcome(entry("error", [["execution_error", data]]))
    assert caught.value.detail == '"Sampler" (KSampler): RuntimeError: out of range'


def test_an_interruption_is_told_from_an_error():
    data = {"prompt_id": "p", "node_id": "4", "node_type": "KSampler"}
    with pytest.raises(JobInterrupted, match='"Sampler"'):
        execution().outcome(entry("error", [["execution_interrupted", data]]))


def test_a_node_that_is_not_in_the_graph_goes_by_class_and_id():
    data = {"prompt_id": "p", "node_id": "4.0.2", "node_type": "Inner", "exception_type": "E", "exception_message": "m"}
    with pytest.raises(ExecutionFailed, match=r"Inner \(node 4\.0\.2\): E: m"):
        execution().outcome(entry("error", [["execution_error", data]]))


@pytest.mark.parametrize("value", [None, {}, {"status": None}, entry("error"), entry(kept=[["x"]], status_str="?"), []])
def test_an_entry_without_a_clear_success_is_a_failure(value):
    with pytest.raises(ExecutionFailed):
        execution().outcome(value)
