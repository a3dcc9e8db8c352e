"""What holds for every test."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# Machines that run the tests are shared: how long an example takes says nothing about our code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.fixture(autouse=True)
def levels_of_the_log_last_a_test() -> Iterator[None]:
    """A command run in the tests' own process sets how much is logged, as it does in a process of its own."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
