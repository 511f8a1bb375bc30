"""How tests are dealt out to processes (a file stays together, and so does what shares one build), and how Hypothesis runs."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How fast examples are is not what tests are for: on a busy machine the usual 200 ms fail now and then.
settings.register_profile("without-clock", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("without-clock")

PLATFORM = Path(__file__).parent / "platform"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        group = PLATFORM if PLATFORM in item.path.parents else item.path
        item.add_marker(pytest.mark.xdist_group(str(group)))
