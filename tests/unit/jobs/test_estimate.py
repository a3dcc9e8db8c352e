import pytest

from orchestrator.jobs.estimate import RunTimes


def test_nothing_is_promised_before_anything_was_measured() -> None:
    times = RunTimes()
    assert times.mean is None
    assert times.until_done("inpaint", 3, 1) is None
    assert times.wait(0, 2) == 5.0


def test_the_wait_grows_with_the_queue_and_shrinks_with_the_backends() -> None:
    times = RunTimes()
    times.learn("inpaint", 2.0)
    assert times.wait(3, 1) == 8.0
    assert times.wait(3, 4) == 2.0
    assert times.wait(0, 0) == 2.0


def test_a_job_takes_as_long_as_those_of_its_widget() -> None:
    times = RunTimes()
    for _ in range(50):
        times.learn("quick", 1.0)
        times.learn("slow", 9.0)
    assert times.until_done("slow", 0, 1) == pytest.approx(times.wait(0, 1) + 9.0)
    assert times.until_done("new", 0, 1) == pytest.approx(2 * times.wait(0, 1))
