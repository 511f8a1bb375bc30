"""No test here sees the environment of whoever runs it."""

import os

import pytest


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("MQBRIDGE_", "AWS_", "POWERTOOLS_", "FC_")):
            monkeypatch.delenv(name)
