"""docs/deploy-aws.md says what template.yaml does, and the commands in it are there."""

import itertools
import json
import re
import shlex
from typing import Any

import pytest

from devstack.lambda_service.template import load_yaml
from functions.outbound.app import handler
from mqbridge.handler import Bridge, using
from mqbridge.http_access import admit
from mqbridge.rules import load
from mqbridge.testing import Captured
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
    rows = re.findall(r"^\| (`[^|]+) \|", section("Alarms and dashboard"), re.M)
    assert {name for names in rows for name in re.findall(r"`(\w+Alarm)`", names)} == {
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


OVER_HTTP = section("Over HTTP: EMQX and other senders")
STEPS, FIRST_MESSAGE = re.findall(r"```\n(.*?)```", OVER_HTTP, re.S)


def test_who_may_call_is_told_for_each_entry() -> None:
    heading, *told = re.findall(r"^\| `(\w+)` \|", OVER_HTTP, re.M)
    assert heading == "HttpEntry"
    assert told == DOCUMENT["Parameters"]["HttpEntry"]["AllowedValues"]


def test_the_steps_make_the_token_that_functions_ask_for_and_urls() -> None:
    (secret,) = re.findall(r"create-secret --name (\S+)", STEPS)
    assert DOCUMENT["Parameters"]["HttpToken"]["Default"] == f"secretsmanager:{secret}"
    assert "--parameter-overrides HttpEntry=Token\n" in STEPS
    urls = {name for name in DOCUMENT["Outputs"] if name.endswith("HttpUrl")}
    assert set(re.findall(r"`(\w+HttpUrl)`", OVER_HTTP)) == urls


@pytest.mark.parametrize(("token", "status"), [("s3cret", 200), ("another", 401)])
def test_the_first_message_is_one(token: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What curl posts, as the event that a function URL makes of it."""
    monkeypatch.setenv("MQBRIDGE_HTTP_AUTH", "env:HTTP_TOKEN")
    monkeypatch.setenv("HTTP_TOKEN", token)
    words = shlex.split(FIRST_MESSAGE.replace("$TOKEN", "s3cret"))
    options = list(itertools.pairwise(words))
    headers = dict(header.split(": ") for option, header in options if option == "-H")
    (body,) = (value for option, value in options if option == "-d")
    event = json.loads((ROOT / "tests/events/trigger-function-url-emqx.json").read_text())
    event |= {"headers": {name.lower(): value for name, value in headers.items()}, "body": body}
    sent = Captured()
    with using(Bridge(load(ROOT / "config/rules.yaml"), sent, admit=admit)):
        answer = handler(event, None)
    assert answer["statusCode"] == status
    assert [each["body"] for each in sent] == (["21.5"] if status == 200 else [])
    assert status == 401 or answer["body"] in OVER_HTTP


def test_the_invoked_request_presents_the_token_that_it_is_told() -> None:
    (line,) = re.findall(r"^make invoke .*MQBRIDGE_HTTP_AUTH.*$", PAGE, re.M)
    arguments: dict[str, Any] = dict(word.split("=", 1) for word in shlex.split(line)[2:])
    variables = dict(each.split("=", 1) for each in arguments["ENV"].split())
    event = json.loads((ROOT / arguments["EVENT"]).read_text())
    scheme, _, name = variables["MQBRIDGE_HTTP_AUTH"].partition(":")
    assert scheme == "env"
    assert event["headers"]["authorization"] == f"Bearer {variables[name]}"


def test_numbers_are_the_template_s() -> None:
    queue = DOCUMENT["Resources"]["OutboundQueue"]["Properties"]
    text = section("Queues, retries, dead letters")
    assert f"`VisibilityTimeout` is {queue['VisibilityTimeout']} s" in text
    assert f"`maxReceiveCount` is {queue['RedrivePolicy']['maxReceiveCount']}" in text
    assert f"timeout of {DOCUMENT['Globals']['Function']['Timeout']} s" in text


def test_costs_are_what_the_formula_gives() -> None:
    text = section("What it costs")
    shared = DOCUMENT["Globals"]["Function"]
    assert f"{shared['MemorySize'] / 1024} GB" in text
    assert f"{shared['MemorySize']} MB have {shared['MemorySize'] / 1769:.2f}" in text  # 1,769 MB are one vCPU
    rows = re.findall(r"^" + r"\| ([\d,.]+) " * 7 + r"\|$", text, re.M)
    assert len(rows) == 3
    for row in rows:
        messages, invocations, requests, of_lambda, of_sqs, of_iot, all_of_it = (
            float(each.replace(",", "")) for each in row
        )
        assert invocations == 1_000_000 / messages
        assert requests == 1_000_000 * (1 + 2 / min(messages, 10))
        seconds = 0.02 + 0.0001 * messages
        lambda_usd = invocations * (0.20 / 1_000_000 + seconds * shared["MemorySize"] / 1024 * 0.0000133334)
        sqs_usd = requests * 0.40 / 1_000_000
        assert abs(of_lambda - lambda_usd) <= 0.0005
        assert abs(of_sqs - sqs_usd) <= 0.005
        assert of_iot == 0.15 + 0.15
        assert abs(all_of_it - (lambda_usd + sqs_usd + of_iot)) <= 0.005
    assert messages == DOCUMENT["Resources"]["Outbound"]["Properties"]["Events"]["Batch"]["Properties"]["BatchSize"]
    queues = [each for each in DOCUMENT["Resources"].values() if "RedrivePolicy" in each.get("Properties", {})]
    assert len(queues) == 4
    assert f"{5 * 3 * 60 * 24 * 30:,} requests" in text
