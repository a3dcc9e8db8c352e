from orchestrator.models.speed import Speedometer


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_is_that_of_the_last_seconds() -> None:
    clock = Clock()
    speed = Speedometer("model", 1000, clock)
    first = speed.at(0)
    assert (first.rate, first.seconds_left) == (0.0, None)
    for second in range(1, 21):
        clock.now = 100.0 + second
        progress = speed.at(second * 10 if second <= 10 else 100 + (second - 10) * 30)
    assert progress.received == 400
    assert progress.rate == 30.0
    assert progress.seconds_left == 20.0


def test_bytes_that_an_earlier_life_left_are_no_speed() -> None:
    clock = Clock()
    speed = Speedometer("model", 1000, clock)
    speed.at(900)
    clock.now += 1.0
    assert speed.at(910).rate == 10.0


def test_a_download_that_starts_over_starts_over_here_too() -> None:
    clock = Clock()
    speed = Speedometer("model", 1000, clock)
    speed.at(500)
    clock.now += 1.0
    assert speed.at(0).rate == 0.0
    clock.now += 1.0
    assert speed.at(50).rate == 50.0
