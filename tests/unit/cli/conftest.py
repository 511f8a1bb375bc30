"""A project of rules, with tests beside them, that a test fills."""

from pathlib import Path

import pytest

from tests.unit.cli.rule_tests_project import Project


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Project:
    return Project(tmp_path, capsys)
