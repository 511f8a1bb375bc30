"""docs/deploy-fc.md says what s.yaml does, the commands in it are there, and its costs are what its formula gives."""

import json
import re

import jsonschema
import yaml

from devstack.fc_service import read_services
from devstack.fc_service.service import RETRY_DELAYS_S
from mqbridge.carrying import SEND_TIMEOUT_S
from tests.platform.conftest import ROOT
from tests.platform.test_s_yaml import TEXT, TRUTH, document, record

PAGE = (ROOT / "docs/deploy-fc.md").read_text()
PROPS = document("s.yaml")["resources"]["outbound"]["props"]
HTTP_TRIGGER = record(
    {
        "triggerName": TEXT,
        "triggerType": {"const": "http"},
        "qualifier": TEXT,
        "triggerConfig": record(
            {
                "authType": {"enum": ["anonymous", "function"]},
                "disableURLInternet": TRUTH,
                "methods": {"type": "array", "items": {"enum": ["GET", "POST", "PUT"]}},
            }
        ),
    }
)


TIME_TRIGGER = record(
    {
        "triggerName": TEXT,
        "triggerType": {"const": "timer"},
        "qualifier": TEXT,
        "triggerConfig": record(
            {
                "enable": TRUTH,
                "cronExpression": {"type": "string", "pattern": r"^@every \d+m$"},
                "payload": {"const": json.loads((ROOT / "tests/events/schedule-fc-timer.json").read_text())["payload"]},
            }
        ),
    }
)


def section(title: str) -> str:
    found = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, title
    return found


def test_variables_are_told() -> None:
    told = re.findall(r"^\| (`[^|]+`) \|", section("Deploy"), re.M)
    assert {name for names in told for name in re.findall(r"`(\w+)`", names)} == set(document("s.yaml")["vars"])


def test_what_has_to_be_there_is_what_is_named() -> None:
    text = section("What has to be there")
    named = set(re.findall(r"(?:Topic|GroupID|logstore|project): ([\w-]+)", (ROOT / "s.yaml").read_text()))
    rules = yaml.safe_load((ROOT / "examples/fc/rules.yaml").read_text())
    named |= {
        each["Destination"]["Topic"] for key in ("OutboundRules", "InboundRules", "StatusRules") for each in rules[key]
    }
    named |= set(re.findall(r"(?:queues|topic|role)/([\w-]+)", f"{PROPS} {rules}"))
    assert {name for name in named if f"`{name}`" not in text} == set()


def test_make_targets_and_files_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", PAGE, re.M))
    assert targets == {"build-fc", "invoke-fc"}
    assert all(f"\n{target}: " in makefile for target in targets)
    files = set(re.findall(r"\b(?:tests|examples|config|docs|benchmarks)/[\w./-]+\.\w+", PAGE))
    files |= {f"docs/{name}" for name in re.findall(r"\]\(([\w-]+\.md)", PAGE)}
    assert len(files) > 8
    assert [file for file in sorted(files) if not (ROOT / file).exists()] == []


def test_numbers_are_those_of_s_yaml() -> None:
    text = section("Batches, retries, dead letters")
    options = PROPS["triggers"][0]["triggerConfig"]["runOptions"]
    window = options["batchWindow"]
    assert f"up to {window['CountBasedWindow']} messages, collected for up to {window['TimeBasedWindow']} s" in text
    assert f"{len(RETRY_DELAYS_S[options['retryStrategy']['PushRetryStrategy']])} times" in text
    assert f"`maximumTasks` is {options['maximumTasks']}" in text
    assert f"`errorsTolerance: {options['errorsTolerance']}`" in text
    assert f"{PROPS['asyncInvokeConfig']['maxAsyncRetryAttempts']} tries more" in text
    assert f"timeout is {PROPS['timeout']} s; sending takes {SEND_TIMEOUT_S:.0f} s" in text
    custom = read_services(ROOT / "s.custom.yaml")["outbound"]
    text = section("The custom runtime")
    assert f"takes {custom.concurrency} invocations" in text
    assert f"runtime `{custom.runtime}`" in text
    assert f"python3.12 {' '.join(custom.command[1:5])}`" in text


def test_the_http_trigger_is_one() -> None:
    trigger, variables = re.findall(r"```yaml\n(.*?)```", section("EMQX and other senders over HTTP"), re.S)
    (parsed,) = yaml.safe_load(trigger)
    jsonschema.Draft202012Validator(HTTP_TRIGGER).validate(parsed)
    assert yaml.safe_load(variables) == {"MQBRIDGE_HTTP_AUTH": "env:HTTP_TOKEN", "HTTP_TOKEN": "${env('HTTP_TOKEN')}"}


def test_the_time_trigger_is_one() -> None:
    ((parsed,),) = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", section("RocketMQ that has no trigger"), re.S))
    jsonschema.Draft202012Validator(TIME_TRIGGER).validate(parsed)


def test_costs_are_what_the_formula_gives() -> None:
    text = section("What it costs")
    assert f"{PROPS['cpu']} vCPU" in text
    assert f"{PROPS['memorySize'] / 1024} GB" in text
    rows = re.findall(r"^\| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d.]+) \|$", text, re.M)
    assert len(rows) == 4
    for row in rows:
        messages, invocations, units, price = (float(each.replace(",", "")) for each in row)
        assert invocations == 1_000_000 / messages
        seconds = 0.02 + 0.0001 * messages
        exact = invocations * (0.0075 + seconds * (PROPS["cpu"] + PROPS["memorySize"] / 1024 * 0.15))
        assert abs(units - exact) <= 0.51
        assert abs(price - exact * 0.000020) <= 0.0005
