"""How Hypothesis runs."""

from hypothesis import HealthCheck, settings

# How fast examples are is not what tests are for: on a busy machine the usual 200 ms fail now and then.
settings.register_profile("without-clock", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("without-clock")
