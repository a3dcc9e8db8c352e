from orchestrator.jobs.board import Board
from orchestrator.jobs.job import Cancelled, Failed, Job, Queued, Running, Succeeded


def opened() -> Board:
    board = Board()
    board.open(Job("a", "inpaint", 7))
    return board


def state(board: Board) -> object:
    job = board.find("a")
    assert job is not None
    return job.state


def test_a_job_goes_from_queued_to_its_end() -> None:
    board = opened()
    assert state(board) == Queued()
    board.move("a", Running("gpu", "Sampler", 3, 20))
    assert [job.id for job in board.unfinished()] == ["a"]
    board.move("a", Succeeded("http://x", 1.0))
    board.close("a", (("run", 2.0),))
    assert state(board) == Succeeded("http://x", 1.0)
    assert not list(board.unfinished())


def test_an_end_is_final() -> None:
    board = opened()
    board.move("a", Failed("no_backend", "none"))
    board.move("a", Running("gpu"))
    board.close("a", ())
    assert state(board) == Failed("no_backend", "none")


def test_a_job_that_is_closed_while_it_runs_was_cancelled() -> None:
    board = opened()
    board.move("a", Running("gpu"))
    board.close("a", ())
    assert state(board) == Cancelled()


def test_only_the_newest_thousand_ends_are_kept() -> None:
    board = Board()
    for number in range(1001):
        board.open(Job(str(number), "inpaint", None))
        board.close(str(number), ())
    assert board.find("0") is None
    assert board.find("1") is not None
    board.move("unknown", Cancelled())
