"""Runs of graphs: what is told in which order, what is computed again, and how a run ends."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.embedded.catalogue import Result
from orchestrator.embedded.executor import Executor
from orchestrator.embedded.folders import Folders
from orchestrator.embedded.monitor import Monitor
from orchestrator.embedded.prompts import Outcome, Prompt
from tests.unit.embedded.graphs import STEPS_GRAPH, Bench, kind, node


class Room:
    """An executor over the bench, with everything that it says."""

    def __init__(self, folder: Path) -> None:
        self.monitor = Monitor()
        self.bench = Bench(self.monitor)
        self.told: list[tuple[str, Mapping[str, Any]]] = []
        folders = Folders(folder, folder)
        folders.prepare()
        self.executor = Executor(self.bench.catalogue, self.monitor, folders, self._hear)

    def _hear(self, kind: str, data: Mapping[str, Any], client: str | None) -> None:
        assert client == "me"
        self.told.append((kind, data))

    def run(self, client: str | None = "me", outputs: tuple[str, ...] = ("3",), **changes: Any) -> Outcome:
        self.told.clear()
        self.bench.runs.clear()
        graph = {**copy.deepcopy(STEPS_GRAPH), **changes}
        extra = {"client_id": client} if client else {}
        self.monitor.begin("p")
        return self.executor.run(Prompt(0, "p", graph, extra, outputs))

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.told]


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_a_run_is_told_in_comfyuis_order(room: Room) -> None:
    outcome = room.run()
    node_told = ["progress_state", "executing", "progress_state"]
    steps_told = ["progress_state", "executing", *["progress_state", "progress"] * 3, "progress_state"]
    show_told = ["progress_state", "executing", "executed", "progress_state"]
    assert room.kinds() == [
        "execution_start",
        "execution_cached",
        *node_told,
        *steps_told,
        *show_told,
        "execution_success",
    ]
    assert [kind for kind, _ in outcome.messages] == ["execution_start", "execution_cached", "execution_success"]
    assert outcome.completed
    assert outcome.outputs == {"3": {"numbers": [5]}}
    assert outcome.meta == {"3": {"node_id": "3", "display_node": "3", "parent_node": None, "real_node_id": "3"}}


def test_progress_counts_the_steps_of_the_node(room: Room) -> None:
    room.run()
    steps = [data for kind, data in room.told if kind == "progress"]
    assert steps == [{"value": n, "max": 3, "prompt_id": "p", "node": "2"} for n in (1, 2, 3)]
    last = [data for kind, data in room.told if kind == "progress_state"][-1]
    assert {name: (n["state"], n["value"], n["max"]) for name, n in last["nodes"].items()} == {
        "1": ("finished", 1.0, 1.0),
        "2": ("finished", 3, 3),
        "3": ("finished", 1.0, 1.0),
    }


def test_the_same_graph_again_is_answered_from_the_cache(room: Room) -> None:
    room.run()
    outcome = room.run()
    assert room.bench.runs == []
    assert room.kinds() == ["execution_start", "execution_cached", "executed", "progress_state", "execution_success"]
    assert room.told[1][1]["nodes"] == ["1", "2", "3"]
    assert outcome.outputs == {"3": {"numbers": [5]}}


def test_a_change_runs_what_depends_on_it_alone(room: Room) -> None:
    room.run()
    room.run(**{"4": node("Number", value=1, mode="plain"), "2": node("Steps", number=["4", 0])})
    assert room.bench.runs == ["number", "steps", "show"]
    room.run(
        **{
            "4": node("Number", value=1, mode="plain"),
            "2": node("Steps", number=["4", 0]),
            "3": node("Show", number=["4", 0]),
        }
    )
    assert room.bench.runs == ["show"]


def test_nodes_that_no_output_needs_do_not_run(room: Room) -> None:
    room.run(**{"4": node("Number", value=1, mode="plain")})
    assert room.bench.runs == ["number", "steps", "show"]


def test_only_results_of_the_last_prompt_are_kept(room: Room) -> None:
    room.run()
    room.run(**{"1": node("Number", value=1, mode="plain")})
    room.run()
    assert room.bench.runs == ["number", "steps", "show"]


def test_a_node_that_cannot_say_whether_it_changed_runs_each_time(room: Room) -> None:
    for _ in range(2):
        room.run(**{"1": node("Fresh", value=1)})
        assert room.bench.runs == ["number", "steps", "show"]


def test_inputs_that_the_class_does_not_declare_are_dropped(room: Room) -> None:
    assert room.run(**{"1": node("Number", value=1, mode="plain", surprise=3)}).completed


def test_a_node_that_raises_ends_the_run_with_what_it_said(room: Room) -> None:
    outcome = room.run(**{"2": node("Broken", number=["1", 0])})
    kind, error = outcome.messages[-1]
    assert kind == room.kinds()[-1] == "execution_error"
    assert not outcome.completed
    assert error["node_id"] == "2"
    assert error["node_type"] == "Broken"
    assert error["exception_message"] == "that does not add up\n"
    assert error["exception_type"] == "ArithmeticError"
    assert error["executed"] == ["1"]
    assert error["current_inputs"] == {"number": [4]}
    assert "graphs.py" in error["traceback"][-1]


def test_what_ran_before_an_error_is_cached(room: Room) -> None:
    room.run(**{"2": node("Broken", number=["1", 0])})
    room.run()
    assert room.bench.runs == ["steps", "show"]


def test_an_interrupt_stops_at_the_next_step(room: Room) -> None:
    room.monitor.interrupt("p")  # nothing runs yet: no effect

    def stop_here() -> Result:
        room.monitor.interrupt("p")
        return Result((1,))

    stop = kind("Stop", stop_here, outputs=("NUMBER",))
    room.executor.catalogue = {**room.bench.catalogue, "Stop": stop}
    outcome = room.run(**{"1": node("Stop")})
    kind_of, said = outcome.messages[-1]
    assert kind_of == room.kinds()[-1] == "execution_interrupted"
    assert said["node_id"] == "2"
    assert room.bench.runs == []
    assert not outcome.completed
    assert room.run().completed, "the next prompt is not interrupted"


def test_an_interrupt_for_another_prompt_does_nothing(room: Room) -> None:
    room.monitor.begin("p")
    assert not room.monitor.interrupt("another")
    room.monitor.check()


def test_nothing_is_told_when_no_client_asked(room: Room) -> None:
    assert room.run(client=None).completed
    assert room.told == []


def test_a_picture_that_was_swept_away_is_made_again(room: Room, tmp_path: Path) -> None:
    file = tmp_path / "temp" / "a.png"

    def draw() -> Any:
        room.bench.runs.append("draw")
        file.write_bytes(b"picture")
        return Result(ui={"images": [{"filename": "a.png", "subfolder": "", "type": "temp"}]})

    room.executor.catalogue = {"Draw": kind("Draw", draw, output_node=True)}
    for expected in (["draw"], [], ["draw"]):
        room.told.clear()
        room.bench.runs.clear()
        room.monitor.begin("p")
        room.executor.run(Prompt(0, "p", {"3": node("Draw")}, {"client_id": "me"}, ("3",)))
        assert room.bench.runs == expected
        if not expected:
            file.unlink()
