import random

import pytest

from orchestrator.callers.caller import ANYBODY, Caller, Limits, Right
from orchestrator.callers.rates import Rates
from orchestrator.errors import LimitReached


def caller(rate: int | None, name: str = "a") -> Caller:
    return Caller(name, name, frozenset({Right.RUN}), Limits(rate=rate))


def test_no_minute_holds_more_than_the_rate_and_the_refusal_says_when_there_is_room() -> None:
    now, drawn = [0.0], random.Random(3)
    rates, granted = Rates(lambda: now[0]), []
    for _ in range(2000):
        now[0] += drawn.random() * 4
        try:
            rates.count(caller(10))
            granted.append(now[0])
        except LimitReached as refusal:
            now[0] += refusal.retry_after + 1e-9
            rates.count(caller(10))
            granted.append(now[0])
    for first, eleventh in zip(granted, granted[10:], strict=False):
        assert eleventh - first >= 60 - 1e-6


def test_each_caller_has_a_rate_of_its_own_and_some_have_none() -> None:
    rates = Rates(lambda: 0.0)
    rates.count(caller(1, "a"))
    rates.count(caller(1, "b"))
    with pytest.raises(LimitReached, match="1 runs a minute") as refused:
        rates.count(caller(1, "a"))
    assert [field.field for field in refused.value.fields] == ["rate"]
    for _ in range(1000):
        rates.count(caller(None, "c"))
        rates.count(ANYBODY)


def test_a_rate_that_was_lowered_lets_in_when_enough_is_old() -> None:
    now = [0.0]
    rates = Rates(lambda: now[0])
    for second in range(5):
        now[0] = float(second)
        rates.count(caller(5))
    with pytest.raises(LimitReached) as refused:
        rates.count(caller(2))
    assert refused.value.retry_after == 3 + 60 - 4
