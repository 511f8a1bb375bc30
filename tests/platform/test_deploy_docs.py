"""docs/deploy-aws.md says what template.yaml does, and the commands in it are there."""

import re

from devstack.lambda_service.template import load_yaml
from tests.platform.conftest import ROOT

PAGE = (ROOT / "docs/deploy-aws.md").read_text()
DOCUMENT = load_yaml(ROOT / "template.yaml")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_parameters_and_their_defaults() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|", section("Parameters"), re.M)
    told = {name: default.strip("`") for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    assert told == {name: str(each.get("Default")) or "none" for name, each in DOCUMENT["Parameters"].items()}


def test_alarms() -> None:
    told = re.findall(r"^\| `(\w+Alarm)` \|", section("Alarms and dashboard"), re.M)
    assert set(told) == {
        name for name, each in DOCUMENT["Resources"].items() if each["Type"] == "AWS::CloudWatch::Alarm"
    }


def test_deployment_takes_four_commands() -> None:
    (commands,) = re.findall(r"```\n(.*?)```", section("Deploy"), re.S)
    assert len(commands.splitlines()) == 4


def test_make_targets_and_files_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?:^|`)make ([a-z]+)", PAGE, re.M))
    assert targets == {"build", "invoke"}
    assert all(f"\n{target}: " in makefile for target in targets)
    files = set(re.findall(r"\b(?:tests|examples|config|docs)/[\w./-]+\.\w+", PAGE))
    files |= {f"docs/{name}" for name in re.findall(r"\]\(([\w-]+\.md)", PAGE)}
    assert len(files) > 8
    assert [file for file in sorted(files) if not (ROOT / file).exists()] == []


def test_numbers_are_the_template_s() -> None:
    queue = DOCUMENT["Resources"]["OutboundQueue"]["Properties"]
    text = section("Queues, retries, dead letters")
    assert f"`VisibilityTimeout` is {queue['VisibilityTimeout']} s" in text
    assert f"`maxReceiveCount` is {queue['RedrivePolicy']['maxReceiveCount']}" in text
    assert f"timeout of {DOCUMENT['Globals']['Function']['Timeout']} s" in text
