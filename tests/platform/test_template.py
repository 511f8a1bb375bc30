"""template.yaml: valid inside and out, and its numbers and permissions fit what the code does."""

import ast
import base64
import datetime
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from devstack.lambda_service.template import load_yaml
from mqbridge.delivery.retry import next_delay_s
from mqbridge.rules import RetryStrategy, load
from mqbridge.sources.places import AppConfigProfile, LocalFile, Parameter, S3Object, place_of
from mqbridge.telemetry import METRICS, OUTCOME_WORDS
from mqbridge.telemetry.emf import NAMESPACE
from mqbridge.triggers import PullRequest, receive
from tests.platform.conftest import ROOT, run_sam

TEMPLATE = ROOT / "template.yaml"
DOCUMENT = load_yaml(TEMPLATE)
RESOURCES: dict[str, Any] = DOCUMENT["Resources"]
# AWS's end of support. SAM and cfn-lint take any name that looks like a runtime, python3.15 too.
RUNTIMES = {
    "python3.12": datetime.date(2028, 10, 31),
    "python3.13": datetime.date(2029, 6, 30),
    "python3.14": datetime.date(2029, 6, 30),
}


def of_type(kind: str) -> dict[str, Any]:
    return {name: each["Properties"] for name, each in RESOURCES.items() if each["Type"] == kind}


FUNCTIONS = of_type("AWS::Serverless::Function")
QUEUES = of_type("AWS::SQS::Queue")
SHARED = DOCUMENT["Globals"]["Function"]


def reference(value: Any) -> str:
    """Return the resource that a Ref or GetAtt names."""
    (kind, argument), *_ = value.items()
    assert kind in ("Ref", "Fn::GetAtt")
    return str(argument).partition(".")[0]


def batch_of(function: dict[str, Any]) -> dict[str, Any]:
    (event,) = function["Events"].values()
    properties: dict[str, Any] = event["Properties"]
    return properties


def queue_of(function: dict[str, Any]) -> dict[str, Any]:
    queue: dict[str, Any] = QUEUES[reference(batch_of(function)["Queue"])]
    return queue


def lint_translated(template: Path, directory: Path) -> str:
    """Return what cfn-lint says of what the template becomes."""
    result = directory / "translated.json"
    done = run_sam("python", "tests/platform/translate.py", str(template), str(result))
    assert done.returncode == 0, done.stderr
    return run_sam("cfn-lint", "-t", str(result)).stdout


def test_sam_finds_it_valid() -> None:
    done = run_sam("sam", "validate", "--lint")
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_it_becomes_is_valid(tmp_path: Path) -> None:
    assert lint_translated(TEMPLATE, tmp_path) == ""


def test_what_sam_does_not_see_is_found(tmp_path: Path) -> None:
    """Else the test above might look at nothing: SAM's own lint finds this copy valid."""
    spoiled = tmp_path / "template.yaml"
    spoiled.write_text(TEMPLATE.read_text().replace("BatchSize: 100", "BatchSize: 10001"))
    found = lint_translated(spoiled, tmp_path)
    assert found.count("E3034") == len(FUNCTIONS)


def test_what_is_made_by_other_parameters_than_the_defaults_is_looked_at_too(tmp_path: Path) -> None:
    spoiled = tmp_path / "template.yaml"
    spoiled.write_text(TEMPLATE.read_text().replace("[HasHttpToken, NONE, AWS_IAM]", "[HasHttpToken, NOBODY, AWS_IAM]"))
    assert lint_translated(spoiled, tmp_path).count("'NOBODY' is not one of") == len(FUNCTIONS)


def test_the_runtime_exists_and_is_supported_for_another_year() -> None:
    in_a_year = datetime.date.today() + datetime.timedelta(days=365)
    assert RUNTIMES[SHARED["Runtime"]] > in_a_year


def test_template_and_makefile_of_the_layer_name_one_runtime_and_one_architecture() -> None:
    layer = RESOURCES["CommonLayer"]["Properties"]
    makefile = (ROOT / "layers/common/Makefile").read_text()
    assert layer["CompatibleRuntimes"] == [SHARED["Runtime"]]
    assert RESOURCES["RulesLayer"]["Properties"]["CompatibleRuntimes"] == [SHARED["Runtime"]]
    assert re.findall(r"^RUNTIME \?= (.+)$", makefile, re.M) == [SHARED["Runtime"].removeprefix("python")]
    assert re.findall(r"^ARCH \?= (.+)$", makefile, re.M) == [DOCUMENT["Parameters"]["Architecture"]["Default"]]
    assert SHARED["Architectures"] == layer["CompatibleArchitectures"] == [{"Ref": "Architecture"}]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_s_handler_exists_and_its_makefile_ships_it(name: str) -> None:
    function = FUNCTIONS[name]
    module, _, attribute = function["Handler"].partition(".")
    folder = ROOT / function["CodeUri"]
    source = ast.parse((folder / f"{module}.py").read_text())
    assert attribute in [node.name for node in source.body if isinstance(node, ast.FunctionDef)]
    assert f"build-{name}:\n\tcp {module}.py" in (folder / "Makefile").read_text()
    assert RESOURCES[name]["Metadata"] == {"BuildMethod": "makefile"}


def test_every_handler_has_a_function() -> None:
    handlers = {path for path in ROOT.glob("functions/*/*.py") if "def handler(" in path.read_text()}
    assert handlers == {
        ROOT / each["CodeUri"] / f"{each['Handler'].partition('.')[0]}.py" for each in FUNCTIONS.values()
    }


# Queues.


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_queue_waits_long_enough_for_its_function(name: str) -> None:
    """Lambda's advice: six times the timeout, and the batching window. Less, and messages are handled twice at the same time."""
    timeout_s = FUNCTIONS[name].get("Timeout", SHARED["Timeout"])
    window_s = batch_of(FUNCTIONS[name])["MaximumBatchingWindowInSeconds"]
    assert timeout_s >= 15  # sending 10 s, hiding what failed, and a start
    assert queue_of(FUNCTIONS[name])["VisibilityTimeout"] >= 6 * timeout_s + window_s


@pytest.mark.parametrize("policy", ["BACKOFF_RETRY", "EXPONENTIAL_DECAY_RETRY"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_queue_does_not_give_up_before_the_retry_policies_do(name: str, policy: str) -> None:
    strategy = RetryStrategy(push_retry_strategy=policy)
    attempts = next(
        attempt for attempt in range(1, 1000) if next_delay_s(strategy, attempt=attempt, age_s=0.0, chance=0.5) is None
    )
    assert queue_of(FUNCTIONS[name])["RedrivePolicy"]["maxReceiveCount"] > attempts


@pytest.mark.parametrize("name", FUNCTIONS)
def test_failures_are_reported_by_message_and_have_a_place_to_end_in(name: str) -> None:
    assert batch_of(FUNCTIONS[name])["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    queue = queue_of(FUNCTIONS[name])
    dead = QUEUES[reference(queue["RedrivePolicy"]["deadLetterTargetArn"])]
    assert dead["MessageRetentionPeriod"] > queue.get("MessageRetentionPeriod", 4 * 86400)


def test_queues_are_encrypted() -> None:
    assert all(queue["SqsManagedSseEnabled"] is True for queue in QUEUES.values())


# AWS IoT Core.

# DESIGN section 3: what the triggers read.
COLUMNS = {
    "payload_b64": "encode(*, 'base64')",
    "topic": "topic()",
    "client_id": "clientid()",
    "ts_ms": "timestamp()",
    "trace_id": "traceid()",
    "content_type": "get_mqtt_property('content_type')",
    "origin": "get_user_properties('mqbridge-origin')",
}
RULES = {name: each["TopicRulePayload"] for name, each in of_type("AWS::IoT::TopicRule").items()}


@pytest.mark.parametrize(("rule", "queue"), [("TelemetryRule", "OutboundQueue"), ("TasksRule", "OutflowQueue")])
def test_a_rule_selects_the_columns_that_triggers_read(rule: str, queue: str) -> None:
    sql = RULES[rule]["Sql"]["Fn::Sub"]
    found = re.fullmatch(r"SELECT (.+)\s+FROM '\$\{(\w+)TopicFilter\}'", sql, re.S)
    assert found
    columns = re.findall(r"(\w+\((?:[^()]*)\)) AS (\w+)", found[1])
    assert {name: expression for expression, name in columns} == COLUMNS
    assert rule == f"{found[2]}Rule"
    assert [reference(action["Sqs"]["QueueUrl"]) for action in RULES[rule]["Actions"]] == [queue]


# What is there for every message; of the others AWS IoT leaves out those of properties that a message does not have.
ALWAYS = {"payload_b64", "topic", "client_id", "ts_ms", "trace_id"}


def fixture(name: str) -> Any:
    return json.loads((ROOT / "tests" / "events" / f"trigger-{name}.json").read_text())


def test_the_events_of_tests_are_what_a_rule_selects() -> None:
    assert set(fixture("iot")) == set(COLUMNS)
    plain, encoded = (record["body"] for record in fixture("sqs-iot")["Records"])
    of_a_pipe, _ = (record["body"] for record in fixture("pipes-sqs"))
    for columns in map(json.loads, (plain, base64.b64decode(encoded), of_a_pipe)):
        assert set(columns) >= ALWAYS
        assert set(columns) <= set(COLUMNS)
    # The values of the property of that name: AWS has an array for it, as there may be several.
    marks = [each["origin"] for each in (fixture("iot"), json.loads(plain))]
    assert all(isinstance(each, list) and all(isinstance(mark, str) for mark in each) for each in marks)


def test_presence_is_told_as_aws_tells_it() -> None:
    assert RULES["PresenceRule"]["Sql"] == "SELECT * FROM '$aws/events/presence/#'"
    assert [reference(action["Sqs"]["QueueUrl"]) for action in RULES["PresenceRule"]["Actions"]] == ["StatusQueue"]


@pytest.mark.parametrize("rule", RULES)
def test_what_a_rule_cannot_write_is_kept(rule: str) -> None:
    assert reference(RULES[rule]["ErrorAction"]["Sqs"]["QueueUrl"]) == "IotErrors"
    assert RULES[rule]["AwsIotSqlVersion"] == "2016-03-23"
    writable = {reference(each) for each in statements("IotRole")[0]["Resource"]}
    assert {reference(each["Sqs"]["QueueUrl"]) for each in RULES[rule]["Actions"]} | {"IotErrors"} <= writable


# Pull mode.


def test_a_schedule_asks_the_inbound_function_for_a_pull_and_nobody_else_may() -> None:
    rule, permission = RESOURCES["PullRule"], RESOURCES["PullPermission"]
    (target,) = rule["Properties"]["Targets"]
    assert isinstance(receive(json.loads(target["Input"])), PullRequest)
    assert reference(target["Arn"]) == reference(permission["Properties"]["FunctionName"]) == "Inbound"
    assert rule["Properties"]["ScheduleExpression"] == {"Ref": "PullSchedule"}
    assert permission["Properties"]["SourceArn"] == {"Fn::GetAtt": "PullRule.Arn"}
    assert permission["Properties"]["Principal"] == "events.amazonaws.com"


@pytest.mark.parametrize(
    ("schedule", "is_there"), [("rate(1 minute)", True), ("cron(0/5 * * * ? *)", True), ("", False)]
)
def test_without_a_schedule_there_is_none(schedule: str, is_there: bool) -> None:
    assert re.search(DOCUMENT["Parameters"]["PullSchedule"]["AllowedPattern"], schedule)
    assert {RESOURCES[name]["Condition"] for name in ("PullRule", "PullPermission")} == {"HasPull"}
    assert evaluated(DOCUMENT["Conditions"]["HasPull"], {"PullSchedule": schedule}) is is_there
    assert not re.search(DOCUMENT["Parameters"]["PullSchedule"]["AllowedPattern"], "1 minute")


# Permissions.


def statements(name: str) -> list[dict[str, Any]]:
    properties = RESOURCES[name]["Properties"]
    documents = [each["PolicyDocument"] for each in properties.get("Policies", [properties])]
    found = [each for document in documents for each in document["Statement"]]
    return [each["Fn::If"][1] if "Fn::If" in each else each for each in found]


def actions_of(statement: dict[str, Any]) -> list[str]:
    action = statement["Action"]
    return [action] if isinstance(action, str) else action


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_may_read_its_own_queue_and_no_other(name: str) -> None:
    """SAM would add a policy that reads every queue of the account, unless a function brings its role."""
    role = reference(FUNCTIONS[name]["Role"])
    own, *others = statements(role)
    assert [each["Action"] for each in others] == (["iot:Publish"] if name == "Inbound" else [])
    assert reference(own["Resource"]) == reference(batch_of(FUNCTIONS[name])["Queue"])
    assert set(own["Action"]) == {
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ChangeMessageVisibility",
    }
    assert RESOURCES[role]["Properties"]["ManagedPolicyArns"][0] == {"Ref": "SharedPolicy"}


def test_nothing_is_allowed_everywhere_but_the_network_interfaces_of_a_vpc() -> None:
    policies = [
        name for name, each in RESOURCES.items() if each["Type"] in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy")
    ]
    everywhere = [each for name in policies for each in statements(name) if each["Resource"] == "*"]
    assert [action.partition(":")[0] for each in everywhere for action in actions_of(each)] == ["ec2"] * 6
    assert not [
        action for name in policies for each in statements(name) for action in actions_of(each) if "*" in action
    ]


def evaluated(value: Any, parameters: dict[str, Any]) -> Any:
    """Return what CloudFormation makes of a value; None for AWS::NoValue. Knows what the policies use and no more."""

    def each(values: Any) -> list[Any]:
        found = [evaluated(value, parameters) for value in values]
        return [value for value in found if value is not None]

    if isinstance(value, list):
        return each(value)
    if not isinstance(value, dict):
        return value
    argument: Any
    kind, argument = next(iter(value.items()), ("", None))
    if not kind.startswith(("Ref", "Fn::")):
        return {key: evaluated(part, parameters) for key, part in value.items()}
    match kind:
        case "Ref":
            return None if argument == "AWS::NoValue" else parameters.get(argument, argument)
        case "Fn::GetAtt":
            return f"arn of {argument}"
        case "Fn::Equals":
            first, second = each(argument)
            return first == second
        case "Fn::Select":
            at, values = argument
            return evaluated(values, parameters)[at]
        case "Fn::Split":
            separator, text = each(argument)
            return text.split(separator)
        case "Fn::If":
            condition, then, otherwise = argument
            return evaluated(
                then if evaluated(DOCUMENT["Conditions"][condition], parameters) else otherwise, parameters
            )
        case "Fn::Not":
            return not each(argument)[0]
        case "Fn::Join":
            separator, values = argument
            return separator.join(evaluated(values, parameters))
        case "Fn::Sub":
            text, names = (argument, {}) if isinstance(argument, str) else argument
            known = {**parameters, **evaluated(names, parameters)}
            return re.sub(r"\$\{([^}]+)\}", lambda found: known[found[1]], text)
    raise AssertionError(kind)


PSEUDO = {"AWS::Partition": "aws", "AWS::Region": "eu-central-1", "AWS::AccountId": "123456789012"}


def stack_parameters(**given: str) -> dict[str, Any]:
    """Return the parameters of a stack: those given, else their defaults."""
    defaults = {name: str(each.get("Default", "")) for name, each in DOCUMENT["Parameters"].items()}
    return {**defaults, **PSEUDO, "SubnetIds": [], **given}


ALWAYS_ALLOWED = {
    ("logs:CreateLogStream", "arn of Logs.Arn"),
    ("logs:PutLogEvents", "arn of Logs.Arn"),
    ("sqs:SendMessage", "arn of DeadLetters.Arn"),
    (
        "secretsmanager:GetSecretValue",
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:mqbridge/*",
    ),
    ("ssm:GetParameter", "arn:aws:ssm:eu-central-1:123456789012:parameter/mqbridge/*"),
}


def allowed_with(**parameters: str) -> set[tuple[str, str]]:
    """Return the actions, each with a resource, that all functions may take in a stack with these parameters."""
    policy = evaluated(RESOURCES["SharedPolicy"]["Properties"]["PolicyDocument"], stack_parameters(**parameters))
    return {
        (action, resource)
        for each in policy["Statement"]
        for action in actions_of(each)
        for resource in ([each["Resource"]] if isinstance(each["Resource"], str) else each["Resource"])
    }


RULES_IN_PARAMETERS = {
    (action, f"arn:aws:ssm:eu-central-1:123456789012:parameter/shop/rules{below}")
    for action in ("ssm:GetParameter", "ssm:GetParametersByPath")
    for below in ("", "/*")
}


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        ("/opt/rules.json", set()),
        ("ssm:/shop/rules", RULES_IN_PARAMETERS),
        ("ssm:/shop/rules/", RULES_IN_PARAMETERS),
        (
            "appconfig:abc1234/def5678/9abcdef",
            {
                (
                    f"appconfig:{action}",
                    "arn:aws:appconfig:eu-central-1:123456789012:"
                    "application/abc1234/environment/def5678/configuration/9abcdef",
                )
                for action in ("StartConfigurationSession", "GetLatestConfiguration")
            },
        ),
        ("s3://bucket/folder/rules.json", {("s3:GetObject", "arn:aws:s3:::bucket/folder/rules.json")}),
    ],
)
def test_functions_may_read_secrets_and_their_own_source_of_rules_and_nothing_else(
    source: str, allowed: set[tuple[str, str]]
) -> None:
    assert allowed_with(RulesSource=source) == ALWAYS_ALLOWED | allowed


@pytest.mark.parametrize("name", ["/shop/rules", "/shop/rules/"])
def test_rules_in_parameters_are_readable_and_parameters_beside_them_are_not(name: str) -> None:
    place = place_of(f"ssm:{name}")
    assert isinstance(place, Parameter)
    asked = "ssm:GetParametersByPath" if place.is_in_parts else "ssm:GetParameter"
    allowed = allowed_with(RulesSource=f"ssm:{name}")

    def may(action: str, parameter: str) -> bool:
        arn = f"arn:aws:ssm:eu-central-1:123456789012:parameter{parameter}"
        return any(action == each and fnmatch(arn, pattern) for each, pattern in allowed)

    # AWS does not say whether a path is asked for with the slash at its end.
    assert may(asked, "/shop/rules")
    assert may(asked, place.name)
    for beside in ("/shop/rules-other", "/shop/rules2/part-1", "/shop/rule", "/shop", "/shop/"):
        assert not any(may(action, beside) for action in ("ssm:GetParameter", "ssm:GetParametersByPath")), beside


@pytest.mark.parametrize(
    ("topic", "resources"),
    [
        ("", []),
        (
            "devices",
            [
                "arn:aws:iot:eu-central-1:123456789012:topic/devices",
                "arn:aws:iot:eu-central-1:123456789012:topic/devices/*",
            ],
        ),
    ],
)
def test_inbound_may_publish_by_iot_data_below_one_topic_only(topic: str, resources: list[str]) -> None:
    assert re.search(DOCUMENT["Parameters"]["IotDataTopic"]["AllowedPattern"], topic)
    (policy,) = evaluated(RESOURCES["InboundRole"]["Properties"]["Policies"], {**PSEUDO, "IotDataTopic": topic})
    allowed = [each for each in policy["PolicyDocument"]["Statement"] if "iot:Publish" in actions_of(each)]
    assert [resource for each in allowed for resource in each["Resource"]] == resources
    assert not any(re.search(DOCUMENT["Parameters"]["IotDataTopic"]["AllowedPattern"], each) for each in ("a/b", "*"))


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("/opt/rules.json", LocalFile),
        ("ssm:/mqbridge/rules", Parameter),
        ("ssm:/mqbridge/rules/", Parameter),
        ("appconfig:abc1234/def5678/9abcdef", AppConfigProfile),
        ("s3://bucket/folder/rules.json", S3Object),
    ],
)
def test_rules_sources_that_the_template_takes_are_what_the_code_reads(source: str, kind: type) -> None:
    assert re.search(DOCUMENT["Parameters"]["RulesSource"]["AllowedPattern"], source)
    assert isinstance(place_of(source), kind)
    assert SHARED["Environment"]["Variables"]["MQBRIDGE_RULES"] == {"Ref": "RulesSource"}


@pytest.mark.parametrize(
    "source",
    [
        *("rules.yaml", "ssm:name", "appconfig:App name/env/profile", "s3://bucket", "{}"),
        # Wildcards in a policy: they would permit more than the rules.
        *(
            "ssm:/*",
            "ssm:/mqbridge/rule?",
            "s3://bucket/*",
            "s3://bucket/rules?.json",
            "s3://b*/rules.json",
            "s3://?/a",
        ),
    ],
)
def test_rules_sources_that_could_not_be_permitted_are_refused(source: str) -> None:
    assert not re.search(DOCUMENT["Parameters"]["RulesSource"]["AllowedPattern"], source)


def test_secrets_of_the_shipped_rules_are_among_those_that_functions_may_read() -> None:
    prefix = DOCUMENT["Parameters"]["SecretPrefix"]["Default"]
    text = (ROOT / "config/rules.yaml").read_text()
    names = re.findall(r"secretsmanager:([^#\s]+)", text)
    assert names
    assert all(fnmatch(name, f"{prefix}/*") for name in names)


# Over HTTP.

ENTRIES = DOCUMENT["Parameters"]["HttpEntry"]["AllowedValues"]


def made_with(**parameters: str) -> dict[str, dict[str, Any]]:
    """Return what a stack with these parameters has, as it is made."""
    known = stack_parameters(**parameters)
    return {
        name: {"Type": each["Type"], **evaluated(each.get("Properties", {}), known)}
        for name, each in RESOURCES.items()
        if each["Type"].startswith("AWS::Lambda::")
        and ("Condition" not in each or evaluated(DOCUMENT["Conditions"][each["Condition"]], known))
    }


def environment_with(function: str, **parameters: str) -> dict[str, str]:
    """Return the variables of a function in a stack with these parameters."""
    own = FUNCTIONS[function].get("Environment", {}).get("Variables", {})
    found = evaluated({**SHARED["Environment"]["Variables"], **own}, stack_parameters(**parameters))
    return {name: value for name, value in found.items() if value is not None}


def urls_with(**parameters: str) -> dict[str, str]:
    """Return whom AWS lets call each function's URL: its AuthType."""
    made = made_with(**parameters).values()
    found = [each for each in made if each["Type"] == "AWS::Lambda::Url"]
    urls = {each["TargetFunctionArn"].removeprefix("arn of ").removesuffix(".Arn"): each["AuthType"] for each in found}
    assert len(urls) == len(found)
    return urls


def test_functions_have_urls_only_if_asked_for() -> None:
    assert urls_with() == urls_with(HttpEntry="Disabled") == {}
    assert urls_with(HttpEntry="IAM") == dict.fromkeys(FUNCTIONS, "AWS_IAM")
    assert urls_with(HttpEntry="Token") == dict.fromkeys(FUNCTIONS, "NONE")
    assert ENTRIES == ["Disabled", "IAM", "Token"]


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_function_that_everybody_may_call_asks_for_the_token(entry: str) -> None:
    reference = "ssm:/mqbridge/own-token"
    urls = urls_with(HttpEntry=entry, HttpToken=reference)
    for name in FUNCTIONS:
        asks = environment_with(name, HttpEntry=entry, HttpToken=reference).get("MQBRIDGE_HTTP_AUTH")
        assert asks == (reference if urls.get(name) == "NONE" else None)


@pytest.mark.parametrize("entry", ENTRIES)
def test_everybody_may_call_the_urls_that_ask_for_the_token_and_by_them_alone(entry: str) -> None:
    made = made_with(HttpEntry=entry).values()
    public = [each for each in made if each["Type"] == "AWS::Lambda::Permission" and each["Principal"] == "*"]
    by_url = {(each["FunctionName"], each["Action"]): {**each} for each in public}
    assert len(by_url) == len(public)
    open_to_all = [name for name, auth in urls_with(HttpEntry=entry).items() if auth == "NONE"]
    assert set(by_url) == {
        (name, action) for name in open_to_all for action in ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction")
    }
    for (_, action), permission in by_url.items():
        limit = {k: v for k, v in permission.items() if k not in ("Type", "FunctionName", "Principal", "Action")}
        assert limit == (
            {"FunctionUrlAuthType": "NONE"} if action == "lambda:InvokeFunctionUrl" else {"InvokedViaFunctionUrl": True}
        )


@pytest.mark.parametrize("entry", ENTRIES)
def test_urls_are_among_the_outputs(entry: str) -> None:
    known = stack_parameters(HttpEntry=entry)
    told = {
        name: each["Value"]
        for name, each in DOCUMENT["Outputs"].items()
        if "Condition" in each and evaluated(DOCUMENT["Conditions"][each["Condition"]], known)
    }
    assert told == {f"{name}HttpUrl": {"Fn::GetAtt": f"{name}Url.FunctionUrl"} for name in urls_with(HttpEntry=entry)}


@pytest.mark.parametrize(
    "reference",
    [
        DOCUMENT["Parameters"]["HttpToken"]["Default"],
        "secretsmanager:mqbridge/http#token",
        "secretsmanager:mqbridge/a/b",
        "ssm:/mqbridge/http-token",
    ],
)
def test_functions_may_read_the_token(reference: str) -> None:
    assert re.search(DOCUMENT["Parameters"]["HttpToken"]["AllowedPattern"], reference)
    scheme, _, name = reference.partition(":")
    action, arn = {
        "secretsmanager": ("secretsmanager:GetSecretValue", f"secretsmanager:eu-central-1:123456789012:secret:{name}"),
        "ssm": ("ssm:GetParameter", f"ssm:eu-central-1:123456789012:parameter{name}"),
    }[scheme]
    arn = f"arn:aws:{arn.partition('#')[0]}"
    assert any(action == each and fnmatch(arn, pattern) for each, pattern in allowed_with(HttpToken=reference))


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "s3cret",
        "platform",
        "env:TOKEN",
        "file:/tmp/x",
        "secretsmanager:token",
        "ssm:token",
        "ssm:/token",
        "ssm:a/b",
    ],
)
def test_a_token_in_clear_text_or_where_functions_may_not_read_is_refused(reference: str) -> None:
    assert not re.search(DOCUMENT["Parameters"]["HttpToken"]["AllowedPattern"], reference)


# Watching.


def test_logs_end_and_alarms_see_everything_that_may_be_wrong() -> None:
    assert RESOURCES["Logs"]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    assert SHARED["LoggingConfig"]["LogGroup"] == {"Ref": "Logs"}
    watched: dict[str, set[str]] = {}
    for metric in alarm_metrics():
        if metric["Namespace"] != NAMESPACE:
            (dimension,) = metric["Dimensions"]
            watched.setdefault(metric["MetricName"], set()).add(reference(dimension["Value"]))
    sources = {reference(batch_of(each)["Queue"]) for each in FUNCTIONS.values()}
    assert watched == {
        "ApproximateNumberOfMessagesVisible": set(QUEUES) - sources,
        "ApproximateAgeOfOldestMessage": sources,
        "Errors": set(FUNCTIONS),
        "Throttles": set(FUNCTIONS),
        "Url5xxCount": set(FUNCTIONS),
    }


def alarm_metrics() -> list[dict[str, Any]]:
    alarms = of_type("AWS::CloudWatch::Alarm").values()
    return [each["MetricStat"]["Metric"] for alarm in alarms for each in alarm["Metrics"] if "MetricStat" in each]


def dashboard_metrics() -> list[tuple[str, set[str]]]:
    """Return the name and dimensions of our own metrics that the dashboard shows, by themselves or in a search."""
    text = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    found = []
    for widget in json.loads(text)["widgets"]:
        for metric in widget["properties"]["metrics"]:
            if isinstance(metric[0], dict):
                search = re.fullmatch(
                    r"SEARCH\('\{(\w+),([\w,]+)\} MetricName=\"(\w+)\" service=\"\$\{AWS::StackName\}\"', '\w+', 60\)",
                    metric[0]["expression"],
                )
                assert search, metric
                assert search[1] == NAMESPACE
                found.append((search[3], set(search[2].split(","))))
            elif metric[0] == NAMESPACE:
                found.append((metric[1], set(metric[2::2])))
    return found


def test_our_own_metrics_that_are_watched_are_written_with_these_dimensions() -> None:
    of_alarms = [
        (each["MetricName"], {dimension["Name"] for dimension in each["Dimensions"]})
        for each in alarm_metrics()
        if each["Namespace"] == NAMESPACE
    ]
    of_dashboard = dashboard_metrics()
    assert len(of_alarms) == 5 * len(FUNCTIONS)
    assert len(of_dashboard) == 5 * len(FUNCTIONS) + 3
    for name, dimensions in [*of_alarms, *of_dashboard]:
        metric = METRICS[name]
        assert metric.by != "runner", name
        assert dimensions - {"service"} in [set(metric.labels), *map(set, metric.sums)], name
        assert "service" in dimensions, name
    assert SHARED["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}


def stuck_alarm(flow: str) -> dict[str, Any]:
    alarm: dict[str, Any] = RESOURCES[f"{flow.capitalize()}StuckAlarm"]["Properties"]
    return alarm


def evaluated_math(alarm: dict[str, Any], data: Mapping[str, int]) -> int:
    """Return what CloudWatch makes of an alarm's expression of metrics, by their dimension `outcome`; no data, no datum."""
    expression = next(each["Expression"] for each in alarm["Metrics"] if each["ReturnData"])
    metrics = {each["Id"]: each["MetricStat"]["Metric"] for each in alarm["Metrics"] if "MetricStat" in each}
    outcomes = {
        name: next(each["Value"] for each in metric["Dimensions"] if each["Name"] == "outcome")
        for name, metric in metrics.items()
    }
    known: dict[str, Any] = {name: data.get(outcome) for name, outcome in outcomes.items()}
    known |= {
        "FILL": lambda value, instead: instead if value is None else value,
        "IF": lambda condition, then, otherwise: then if condition else otherwise,
    }
    # CloudWatch's operators and their order are Python's, but for how they are spelled.
    value: int = eval(expression.replace(" AND ", " and "), {"__builtins__": {}}, known)  # noqa: S307 - our own template
    return value


@pytest.mark.parametrize(
    ("data", "is_stuck"),
    [
        ({}, False),
        ({"dropped": 500}, False),
        ({"failed": 1}, True),
        ({"dead_lettered": 1}, True),
        ({"discarded": 1}, True),
        ({"failed": 7, "dead_lettered": 2, "discarded": 1, "dropped": 90}, True),
        ({"failed": 7, "dead_lettered": 2, "discarded": 1, "delivered": 1}, False),
        ({"delivered": 100, "dropped": 3}, False),
    ],
    ids=lambda value: "+".join(value) or "nothing" if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("flow", [name.lower() for name in FUNCTIONS])
def test_a_function_that_delivers_nothing_of_what_it_had_to_send_is_told(
    flow: str, data: dict[str, int], is_stuck: bool
) -> None:
    assert set(data) <= set(OUTCOME_WORDS.values())
    alarm = stuck_alarm(flow)
    assert (evaluated_math(alarm, data) > alarm["Threshold"]) is is_stuck
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"


@pytest.mark.parametrize("flow", [name.lower() for name in FUNCTIONS])
def test_an_alarm_about_a_function_that_delivers_nothing_looks_at_its_flow_and_every_outcome_but_dropped(
    flow: str,
) -> None:
    watched = [
        {each["Name"]: each["Value"] for each in metric["MetricStat"]["Metric"]["Dimensions"]}
        for metric in stuck_alarm(flow)["Metrics"]
        if "MetricStat" in metric
    ]
    assert {each["flow"] for each in watched} == {flow}
    assert {each["outcome"] for each in watched} == set(OUTCOME_WORDS.values()) - {"dropped"}


SHIPPED = load(ROOT / "config/rules.yaml")
DAY_S = 86_400


def delays_of(strategy: RetryStrategy | None) -> list[float]:
    """Return the delays of a strategy, the longest that chance allows; of one without an end the first 999."""
    delays = (next_delay_s(strategy, attempt=attempt, age_s=0.0, chance=1.0) for attempt in range(1, 1000))
    return [delay for delay in delays if delay is not None]


def latest_s(flow: str) -> float:
    """Return how much later than its delay a retry may be counted: its batch is collected and its invocation lasts."""
    function = FUNCTIONS[flow.capitalize()]
    timeout_s: float = function.get("Timeout", SHARED["Timeout"])
    window_s: float = batch_of(function)["MaximumBatchingWindowInSeconds"]
    return timeout_s + window_s


def period_of(alarm: dict[str, Any]) -> int:
    (period,) = {each["MetricStat"]["Period"] for each in alarm["Metrics"] if "MetricStat" in each}
    assert isinstance(period, int)
    return period


def is_raised(alarm: dict[str, Any], counted: Iterable[tuple[float, str]], phase_s: float) -> list[bool]:
    """Return of each period whether the alarm is raised after it, from the first in which an outcome was counted.

    Args:
        alarm: of template.yaml.
        counted: when which outcome was counted.
        phase_s: how long before time 0 a period begins.
    """
    assert "DatapointsToAlarm" not in alarm
    period_s, several = period_of(alarm), alarm["EvaluationPeriods"]
    periods: dict[int, Counter[str]] = {}
    for at_s, outcome in counted:
        periods.setdefault(int((at_s + phase_s) // period_s), Counter())[outcome] += 1
    breached = [
        evaluated_math(alarm, periods.get(each, {})) > alarm["Threshold"]
        for each in range(min(periods), max(periods) + 1)
    ]
    return [index + 1 >= several and all(breached[index + 1 - several : index + 1]) for index in range(len(breached))]


def phases(alarm: dict[str, Any]) -> range:
    return range(0, period_of(alarm), 15)


@pytest.mark.parametrize("flow", [name.lower() for name in FUNCTIONS])
def test_no_period_of_an_alarm_lies_between_two_tries_by_the_shipped_rules(flow: str) -> None:
    strategies = {rule.run_options.retry_strategy for rule in SHIPPED.of_flow(flow)}
    assert strategies
    for strategy in strategies:
        assert period_of(stuck_alarm(flow)) >= max(delays_of(strategy)) + latest_s(flow)


@pytest.mark.parametrize("every_s", [DAY_S, 20 * 60], ids=["a single message", "a message every 20 minutes"])
@pytest.mark.parametrize("flow", [name.lower() for name in FUNCTIONS])
def test_an_outage_is_told_from_the_second_period_on(flow: str, every_s: int) -> None:
    alarm = stuck_alarm(flow)
    delays = delays_of(RetryStrategy(push_retry_strategy="EXPONENTIAL_DECAY_RETRY"))
    assert delays[:3] == [1, 2, 4]
    assert max(delays) == 512
    assert sum(delays) > 0.98 * DAY_S
    for late_s in (0.0, latest_s(flow)):
        tries = list(accumulate((delay + late_s for delay in delays), initial=0.0))
        failures = [(sent_s + each, "failed") for sent_s in range(0, DAY_S, every_s) for each in tries]
        for phase_s in phases(alarm):
            first, *others = is_raised(alarm, failures, phase_s)
            assert not first
            assert all(others), phase_s


@pytest.mark.parametrize("flow", [name.lower() for name in FUNCTIONS])
def test_a_failure_and_then_a_success_are_no_alarm(flow: str) -> None:
    alarm = stuck_alarm(flow)
    for delay_s in set(delays_of(RetryStrategy(push_retry_strategy="EXPONENTIAL_DECAY_RETRY"))):
        for phase_s in phases(alarm):
            counted = [(0.0, "failed"), (delay_s + latest_s(flow), "delivered")]
            assert not any(is_raised(alarm, counted, phase_s)), (delay_s, phase_s)


def test_dead_letters_of_every_flow_are_told() -> None:
    metrics = RESOURCES["DeadLettersAlarm"]["Properties"]["Metrics"]
    ours = [each["MetricStat"]["Metric"] for each in metrics if "MetricStat" in each]
    values = [
        {each["Name"]: each["Value"] for each in metric["Dimensions"]}
        for metric in ours
        if metric["Namespace"] == NAMESPACE
    ]
    assert {(each["flow"], each["outcome"]) for each in values} == {
        (name.lower(), "dead_lettered") for name in FUNCTIONS
    }


def test_requests_are_watched_where_there_are_urls() -> None:
    assert RESOURCES["HttpAlarm"]["Condition"] == RESOURCES["OutboundUrl"]["Condition"]


def test_no_alarm_looks_at_more_metrics_than_cloudwatch_takes() -> None:
    """PutMetricAlarm: 10 metrics and 10 expressions at most, which cfn-lint does not know."""
    for name, alarm in of_type("AWS::CloudWatch::Alarm").items():
        assert sum("MetricStat" in each for each in alarm["Metrics"]) <= 10, name


def test_alarms_are_quiet_where_nothing_happens_and_tell_whom_the_parameter_names() -> None:
    for alarm in of_type("AWS::CloudWatch::Alarm").values():
        assert alarm["TreatMissingData"] == "notBreaching"
        assert alarm["AlarmActions"][0]["Fn::If"][:2] == ["HasAlarmTopic", {"Ref": "AlarmTopicArn"}]


def test_the_dashboard_is_json_and_names_what_there_is() -> None:
    body = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    names = {name.partition(".")[0] for name in re.findall(r"\$\{([^}:]+)\}", body)}
    assert names <= {*FUNCTIONS, *QUEUES}
    assert len(json.loads(re.sub(r"\$\{[^}]+\}", "x", body))["widgets"]) == 10


# What is shipped and set.


def test_the_shipped_rules_are_valid_and_use_every_function() -> None:
    rules = load(ROOT / "config/rules.yaml")
    assert rules.outbound
    assert rules.inbound
    assert rules.status
    assert rules.streamings
    assert not rules.notices


def test_samconfig_needs_no_answers() -> None:
    settings = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]
    assert settings["deploy"]["parameters"]["capabilities"] == "CAPABILITY_IAM"
    assert settings["build"]["parameters"]["cached"] is False  # it would not see another ARCH
