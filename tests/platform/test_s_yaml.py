"""s.yaml and s.custom.yaml: only what Function Compute and Serverless Devs know, what the build has, and no secret."""

import json
import re
from typing import Any

import jsonschema
import pytest
import yaml

from devstack.fc_service import HostBuild, read_services
from devstack.fc_service.service import RETRY_DELAYS_S
from mqbridge.carrying import ANSWER_MARGIN_S, SEND_TIMEOUT_S
from mqbridge.rules import load
from tests.platform.conftest import ROOT

FILES = ["s.yaml", "s.custom.yaml"]
FLOWS = {"inbound", "outbound", "outflow", "status"}
VARIABLE = re.compile(r"\$\{([^}]*)\}")

# What the fc3 component documents of what is used here, and nothing else: a key with a typing error would be passed over in silence.
TEXT, WHOLE, TRUTH = {"type": "string", "minLength": 1}, {"type": "integer"}, {"type": "boolean"}
# Built-in runtimes with a Python that this project runs on, and the custom runtimes that have one.
RUNTIMES = ["python3.12", "custom.debian11", "custom.debian12"]


def record(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    properties = {**required, **(optional or {})}
    return {"type": "object", "properties": properties, "required": [*required], "additionalProperties": False}


SOURCES = {
    "MQTT": record({"sourceMQTTParameters": record(dict.fromkeys(("RegionId", "InstanceId", "Topic"), TEXT))}),
    "RocketMQ": record(
        {
            "sourceRocketMQParameters": record(
                dict.fromkeys(("RegionId", "InstanceId", "GroupID", "Topic"), TEXT),
                {
                    "Offset": {
                        "enum": ["CONSUME_FROM_LAST_OFFSET", "CONSUME_FROM_FIRST_OFFSET", "CONSUME_FROM_TIMESTAMP"]
                    },
                    "Timestamp": WHOLE,
                    "Tag": TEXT,
                },
            )
        }
    ),
}
RUN_OPTIONS = record(
    {
        "mode": {"enum": ["event-streaming", "event-driven"]},
        "maximumTasks": {"type": "integer", "minimum": 1},
        "errorsTolerance": {"enum": ["ALL", "NONE"]},
        "retryStrategy": record(
            {"PushRetryStrategy": {"enum": [*RETRY_DELAYS_S]}},
            {"MaximumEventAgeInSeconds": WHOLE, "MaximumRetryAttempts": WHOLE},
        ),
        "deadLetterQueue": record({"Arn": {"pattern": r"^acs:mns:[^:]+:[^:]+:/queues/[\w-]+$"}}),
        "batchWindow": record(
            {
                "CountBasedWindow": {"type": "integer", "minimum": 1, "maximum": 10_000},
                "TimeBasedWindow": {"type": "integer", "minimum": 0, "maximum": 15},
            }
        ),
    }
)
TRIGGER = record(
    {
        "triggerName": {"pattern": r"^[A-Za-z_][\w-]{0,127}$"},
        "triggerType": {"const": "eventbridge"},
        "qualifier": TEXT,
        "triggerConfig": record(
            {
                "triggerEnable": TRUTH,
                "asyncInvocationType": TRUTH,
                "eventRuleFilterPattern": TEXT,
                "eventSinkConfig": record(
                    {
                        "deliveryOption": record(
                            {
                                "mode": {"enum": ["event-streaming", "event-driven"]},
                                "eventSchema": {"enum": ["CloudEvents", "RawData"]},
                            }
                        )
                    }
                ),
                "runOptions": RUN_OPTIONS,
                "eventSourceConfig": {
                    "oneOf": [
                        record({"eventSourceType": {"const": kind}, "eventSourceParameters": parameters})
                        for kind, parameters in SOURCES.items()
                    ]
                },
            }
        ),
    }
)
PROPS = record(
    {
        "region": TEXT,
        "functionName": {"pattern": r"^[A-Za-z_][\w-]{0,127}$"},
        "description": {"type": "string", "maxLength": 256},
        "runtime": {"enum": RUNTIMES},
        "code": {"const": "./.fc/code"},
        "cpu": {"type": "number", "minimum": 0.05, "maximum": 16, "multipleOf": 0.05},
        "memorySize": {"type": "integer", "minimum": 128, "maximum": 32_768, "multipleOf": 64},
        "diskSize": {"enum": [512, 10_240]},
        "instanceConcurrency": {"type": "integer", "minimum": 1, "maximum": 100},
        "timeout": {"type": "integer", "minimum": 1, "maximum": 86_400},
        "role": {"pattern": r"^acs:ram::[^:]+:role/[\w-]+$"},
        "internetAccess": TRUTH,
        "vpcConfig": record({"vpcId": TEXT, "securityGroupId": TEXT, "vSwitchIds": {"type": "array", "items": TEXT}}),
        "logConfig": record(
            {"project": TEXT, "logstore": TEXT},
            {
                "enableRequestMetrics": TRUTH,
                "enableInstanceMetrics": TRUTH,
                "logBeginRule": {"enum": ["DefaultRegex", "None"]},
            },
        ),
        "environmentVariables": {"type": "object", "additionalProperties": {"type": "string"}},
        "asyncInvokeConfig": record(
            {
                "maxAsyncRetryAttempts": {"type": "integer", "minimum": 0, "maximum": 8},
                "maxAsyncEventAgeInSeconds": {"type": "integer", "minimum": 1, "maximum": 2_592_000},
                "destinationConfig": record(
                    {
                        "onFailure": record(
                            {"destination": {"pattern": r"^acs:mns:[^:]+:[^:]+:/queues/[\w-]+/messages$"}}
                        )
                    }
                ),
            }
        ),
        "triggers": {"type": "array", "minItems": 1, "items": TRIGGER},
    },
    {
        "handler": {"pattern": r"^\w+\.\w+$"},
        "customRuntimeConfig": record(
            {
                "command": {"type": "array", "items": TEXT},
                "args": {"type": "array", "items": TEXT},
                "port": WHOLE,
            }
        ),
    },
)
DOCUMENT = record(
    {
        "edition": {"const": "3.0.0"},
        "name": TEXT,
        "access": TEXT,
        "vars": {"type": "object", "additionalProperties": TEXT},
        "resources": {
            "type": "object",
            "additionalProperties": record({"component": {"const": "fc3"}, "props": PROPS}),
        },
    }
)


def document(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def functions(name: str) -> dict[str, Any]:
    return {flow: each["props"] for flow, each in document(name)["resources"].items()}


@pytest.mark.parametrize("name", FILES)
def test_it_says_only_what_is_documented(name: str) -> None:
    jsonschema.Draft202012Validator(DOCUMENT).validate(document(name))
    assert set(functions(name)) == FLOWS


def test_the_schema_sees_a_typing_error() -> None:
    wrong = document("s.yaml")
    wrong["resources"]["outbound"]["props"]["triggers"][0]["triggerConfig"]["runOptions"]["batchwindow"] = {}
    with pytest.raises(jsonschema.ValidationError, match="batchwindow"):
        jsonschema.Draft202012Validator(DOCUMENT).validate(wrong)


@pytest.mark.parametrize("name", FILES)
def test_variables_are_there_and_environment_s_are_told(name: str) -> None:
    text = (ROOT / name).read_text()
    used = set(VARIABLE.findall(text))
    known = {f"vars.{each}" for each in document(name)["vars"]}
    from_environment = {each for each in used if each.startswith("env(")}
    assert used - from_environment == known, "each is used, and there is no other"
    page = (ROOT / "docs/deploy-fc.md").read_text()
    told = {f"env('{each}')" for each in re.findall(r"^export (\w+)=", page, re.M)}
    assert from_environment <= told


@pytest.mark.parametrize("name", FILES)
def test_no_secret_stands_in_it(name: str) -> None:
    secret = re.compile(r"(KEY|SECRET|PASSWORD|TOKEN)", re.I)
    for props in functions(name).values():
        for variable, value in props["environmentVariables"].items():
            assert not secret.search(variable) or re.fullmatch(r"\$\{env\('\w+'\)\}", value), variable


@pytest.mark.parametrize("name", FILES)
def test_handlers_are_in_the_build(name: str, fc_build: HostBuild) -> None:
    code = fc_build.code()
    for flow, declared in read_services(ROOT / name).items():
        handler = declared.handler or declared.command[declared.command.index("mqbridge.http_server") + 1]
        module, function = re.split(r"[.:]", handler)
        assert module == flow
        assert f"def {function}(event" in (code / f"{module}.py").read_text()
        assert declared.environment["MQBRIDGE_RULES"] == "/code/rules.json"
    assert (code / "rules.json").exists()
    assert (code / "mqbridge/http_server.py").exists()


def test_the_build_is_for_the_runtime_that_is_deployed() -> None:
    makefile = (ROOT / "functions/Makefile").read_text()
    (version,) = re.findall(r"^RUNTIME \?= (.+)$", makefile, re.M)
    assert re.findall(r"^ARCH \?= (.+)$", makefile, re.M) == ["x86_64"], "Function Compute has no other"
    assert {each["runtime"] for each in functions("s.yaml").values()} == {f"python{version}"}
    commands = {tuple(each["customRuntimeConfig"]["command"]) for each in functions("s.custom.yaml").values()}
    assert commands == {(f"/var/fc/lang/python{version}/bin/python{version}",)}


def test_the_custom_runtime_differs_in_nothing_else() -> None:
    differing = {"runtime", "handler", "customRuntimeConfig", "instanceConcurrency", "environmentVariables"}
    custom = functions("s.custom.yaml")
    for flow, built_in in functions("s.yaml").items():
        assert {key: value for key, value in built_in.items() if key not in differing} == {
            key: value for key, value in custom[flow].items() if key not in differing
        }
        assert custom[flow]["environmentVariables"] == {"PYTHONPATH": "/code", **built_in["environmentVariables"]}
    assert document("s.yaml")["vars"] == document("s.custom.yaml")["vars"]


@pytest.mark.parametrize("name", FILES)
def test_there_is_time_for_a_batch_and_its_answer(name: str) -> None:
    for props in functions(name).values():
        assert props["timeout"] > SEND_TIMEOUT_S + ANSWER_MARGIN_S + 10  # and a cold start
        if "customRuntimeConfig" in props:
            args = props["customRuntimeConfig"]["args"]
            assert args[args.index("--timeout") + 1] == str(props["timeout"])
            assert "--fc" in args


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_given_up_without_a_trace(name: str) -> None:
    for props in functions(name).values():
        for trigger in props["triggers"]:
            options = trigger["triggerConfig"]["runOptions"]
            assert options["errorsTolerance"] == "ALL"
            assert options["deadLetterQueue"]["Arn"]
            # The service tries a failed synchronous invocation again, which asynchronous ones would hide from the stream.
            assert trigger["triggerConfig"]["asyncInvocationType"] is False


def test_the_example_s_rules_want_what_the_triggers_bring() -> None:
    rules = load(ROOT / "examples/fc/rules.yaml")
    document = yaml.safe_load((ROOT / "examples/fc/rules.yaml").read_text())
    assert rules.digest
    parameters = {
        flow: next(iter(props["triggers"][0]["triggerConfig"]["eventSourceConfig"]["eventSourceParameters"].values()))
        for flow, props in functions("s.yaml").items()
    }
    source = {
        flow: document[key][0]["Source"] for flow, key in (("outbound", "OutboundRules"), ("inbound", "InboundRules"))
    }
    assert parameters["outbound"]["Topic"] == source["outbound"]["Topic"]
    assert parameters["outflow"]["Topic"] == document["EventStreamings"][0]["Source"]["SourceMQTTParameters"]["Topic"]
    assert (parameters["inbound"]["Topic"], parameters["inbound"]["GroupID"]) == (
        source["inbound"]["Topic"],
        source["inbound"]["GroupId"],
    )
    used = set(re.findall(r"env:(\w+)", json.dumps(document)))
    assert used <= set(functions("s.yaml")["outbound"]["environmentVariables"])
    assert (
        document["Instances"]["Mqtt"][0]["InstanceId"] == yaml.safe_load((ROOT / "s.yaml").read_text())["vars"]["mqtt"]
    )
