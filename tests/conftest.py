"""What holds for every test."""

from hypothesis import HealthCheck, settings

# Machines that run the tests are shared: how long an example takes says nothing about our code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
