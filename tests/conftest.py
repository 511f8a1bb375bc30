"""How the tests are dealt out to processes: a file stays together, for its fixtures, and so does what shares one build."""

from pathlib import Path

import pytest

PLATFORM = Path(__file__).parent / "platform"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        group = PLATFORM if PLATFORM in item.path.parents else item.path
        item.add_marker(pytest.mark.xdist_group(str(group)))
