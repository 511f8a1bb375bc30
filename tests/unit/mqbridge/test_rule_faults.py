"""Every fault of a rules document: its code, its place, its path, what was expected and what came, all of them at once."""
# ruff: noqa: E501  # the rows of a table are as long as they are

import ast
import json
import re
import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml

from mqbridge.rules import Fault, InvalidRules, RulesError, UnreadableRules, format_path, load
from tests.unit.mqbridge.support import DATA, ROOT, document, inbound_rule, outbound_rule

SOUND = (DATA / "rules.yaml").read_text()

# (what is wrong, the text to replace, what with, code, path, text at whose beginning the fault is placed, words of the line)
# Where the same text stands several times, "<n>" before it means its n-th place, from 1.
Row = tuple[str, str, str, str, str, str, tuple[str, ...]]
TABLE: list[Row] = [
    ("unknown top-level key", "Limits:\n", "Limit:\n", "MB101", "Limit", "Limit:", ("expected one of the keys", "Limits")),
    ("unknown key of an instance", "Endpoint:", "EndPoint:", "MB101", "Instances.Mqtt[0].EndPoint", "EndPoint:", ("Endpoint",)),
    ("unknown key of a rule", "Status: Enabled\n    Source", "State: Enabled\n    Source", "MB101", "OutboundRules[0].State", "State: Enabled", ()),
    ("unknown key of a source", "Source: {Topic: devices}", "Source: {Topics: devices, Topic: devices}", "MB101", "OutboundRules[0].Source.Topics", "Topics: devices", ()),
    ("another source of a task", "SourceMQTTParameters: {Topic: devices, BodyDataType: JSON}", "SourceKafkaParameters: {}\n      SourceMQTTParameters: {Topic: devices}", "MB101", "EventStreamings[0].Source.SourceKafkaParameters", "SourceKafkaParameters", ("SourceMQTTParameters",)),
    ("another sink of a task", "SinkRocketMQParameters:\n", "SinkFcParameters: {}\n      SinkRocketMQParameters:\n", "MB101", "EventStreamings[0].Sink.SinkFcParameters", "SinkFcParameters", ("SinkRocketMQParameters",)),
    ("missing instances", "Instances:", "Instance:", "MB102", "Instances", "# A document", ("got nothing",)),
    ("missing rule id", "RuleId: telemetry\n    Status: Enabled", "Status: Enabled", "MB102", "OutboundRules[0].RuleId", "Status: Enabled\n    Source: {Topic: devices}", ("expected 3 to 64 letters",)),
    ("missing topic", "Source: {Topic: devices}", "Source: {}", "MB102", "OutboundRules[0].Source.Topic", "Source: {}", ("parent topic", "got nothing")),
    ("missing endpoint", '      Endpoint: "mqtt://127.0.0.1:1883"\n', "", "MB102", "Instances.Mqtt[0].Endpoint", "InstanceId: mqtt-local", ("mqtt://host",)),
    ("missing name servers", '      NameServers: ["127.0.0.1:9876"]\n', "", "MB102", "Instances.RocketMQ[0].NameServers", "InstanceId: rmq-local", ("host:port",)),
    ("missing body of a sink", "        Body: {Form: ORIGINAL}\n", "", "MB102", "EventStreamings[0].Sink.SinkRocketMQParameters.Body", "SinkRocketMQParameters:", ()),
    ("a key twice", "Status: Enabled\n    Source: {Topic: devices}", "Status: Enabled\n    Status: Disabled\n    Source: {Topic: devices}", "MB103", "OutboundRules[0].Status", "Status: Disabled", ("expected each key once",)),
    ("a top-level key twice", "StatusRules:", "OutboundRules: []\nStatusRules:", "MB103", "OutboundRules", "OutboundRules: []", ()),
    ("a number for a topic", "Source: {Topic: devices}", "Source: {Topic: 7}", "MB104", "OutboundRules[0].Source.Topic", "Topic: 7", ("expected a parent topic", "got 7")),
    ("a parent topic with a level", "Source: {Topic: devices}", "Source: {Topic: devices/d1}", "MB104", "OutboundRules[0].Source.Topic", "Topic: devices/d1", ("one level", "got 'devices/d1'")),
    ("a parent topic of the broker's", "Source: {Topic: devices}", "Source: {Topic: $SYS}", "MB104", "OutboundRules[0].Source.Topic", "Topic: $SYS", ()),
    ("a system topic", "Destination: {Topic: telemetry}\n  - RuleId: screens-out", "Destination: {Topic: SCHEDULE_TOPIC_XXXX}\n  - RuleId: screens-out", "MB104", "OutboundRules[0].Destination.Topic", "Topic: SCHEDULE_TOPIC_XXXX", ("not a system topic",)),
    ("a topic with a blank", "Destination: {Topic: telemetry}\n  - RuleId: screens-out", "Destination: {Topic: a b}\n  - RuleId: screens-out", "MB104", "OutboundRules[0].Destination.Topic", "Topic: a b", ()),
    ("a rule id that is too short", "RuleId: telemetry", "RuleId: ab", "MB104", "OutboundRules[0].RuleId", "RuleId: ab", ("3 to 64",)),
    ("a rule id without letter or digit", "RuleId: telemetry", "RuleId: '---'", "MB104", "OutboundRules[0].RuleId", "RuleId: '---'", ("at least one letter or digit",)),
    ("a rule id with other signs", "RuleId: telemetry", "RuleId: tele metry", "MB104", "OutboundRules[0].RuleId", "RuleId: tele metry", ()),
    ("a status that is none", "Status: Enabled\n    Source: {Topic: devices}", "Status: On\n    Source: {Topic: devices}", "MB104", "OutboundRules[0].Status", "Status: On", ("expected Enabled or Disabled", "got true")),
    ("a task's status", "Status: Enabled\n    FilterPattern", "Status: Disabled\n    FilterPattern", "MB104", "EventStreamings[0].Status", "Status: Disabled", ("expected Enabled or Paused",)),
    ("a mapping for a list", "OutboundRules:\n  - RuleId: telemetry\n    Status: Enabled\n    Source: {Topic: devices}\n    Destination: {Topic: telemetry}\n  - RuleId: screens-out\n    Source: {Topic: screens}\n    Destination: {Topic: telemetry}\n", "OutboundRules: {}\n", "MB104", "OutboundRules", "OutboundRules: {}", ("expected a list", "got a mapping")),
    ("a list for a mapping", "Source: {Topic: devices}", "Source: [devices]", "MB104", "OutboundRules[0].Source", "Source: [devices]", ("expected a mapping", "got a list")),
    ("nothing for a mapping", "Source: {Topic: devices}", "Source:", "MB104", "OutboundRules[0].Source", "Source:\n    Destination: {Topic: telemetry}", ("got nothing",)),
    ("an endpoint without scheme", "mqtt://127.0.0.1:1883", "127.0.0.1:1883", "MB104", "Instances.Mqtt[0].Endpoint", "Endpoint:", ("mqtts://host",)),
    ("an endpoint with a path", "mqtt://127.0.0.1:1883", "mqtt://127.0.0.1/mqtt", "MB104", "Instances.Mqtt[0].Endpoint", "Endpoint:", ()),
    ("a name server without port", '["127.0.0.1:9876"]', '["127.0.0.1"]', "MB104", "Instances.RocketMQ[0].NameServers[0]", '"127.0.0.1"]', ("expected host:port",)),
    ("an endpoint that is no ApsaraMQ instance's", '["127.0.0.1:9876"]', '["http://mq.example:80"]', "MB104", "Instances.RocketMQ[0].NameServers[0]", '"http://mq.example:80"]', ("http://MQ_INST_",)),
    ("name servers of two instances", '["127.0.0.1:9876"]', '["http://MQ_INST_1_a.example", "127.0.0.1:9876"]', "MB212", "Instances.RocketMQ[0].NameServers", "NameServers:", ("one cluster",)),
    ("a port beyond the last", "mqtt://127.0.0.1:1883", "mqtts://h:65536", "MB104", "Instances.Mqtt[0].Endpoint", "Endpoint:", ("a port of 1 to 65535", "'mqtts://h:65536'")),
    ("a port of 0", "mqtt://127.0.0.1:1883", "iot-data://h:0", "MB104", "Instances.Mqtt[0].Endpoint", "Endpoint:", ("a port of 1 to 65535",)),
    ("a name server's port beyond the last", '["127.0.0.1:9876"]', '["127.0.0.1:99999"]', "MB104", "Instances.RocketMQ[0].NameServers[0]", '"127.0.0.1:99999"]', ("a port of 1 to 65535",)),
    ("a name server's port of 0", '["127.0.0.1:9876"]', '["[::1]:0"]', "MB104", "Instances.RocketMQ[0].NameServers[0]", '"[::1]:0"]', ("a port of 1 to 65535",)),
    ("an ApsaraMQ instance's port beyond the last", '["127.0.0.1:9876"]', '["http://MQ_INST_1_a.example:70000"]', "MB104", "Instances.RocketMQ[0].NameServers[0]", '"http://MQ_INST_1_a.example:70000"]', ("a port of 1 to 65535",)),
    ("the last port", "mqtt://127.0.0.1:1883", "mqtt://127.0.0.1:65535", "", "", "", ()),
    ("the first port", '["127.0.0.1:9876"]', '["h:1", "[::1]:59999"]', "", "", "", ()),
    ("no name server", '["127.0.0.1:9876"]', "[]", "MB104", "Instances.RocketMQ[0].NameServers", "NameServers: []", ("at least 1",)),
    ("a version of another age", 'Version: "4.x"', 'Version: "3.x"', "MB104", "Instances.RocketMQ[0].Version", 'Version: "3.x"', ()),
    ("a limit of 0", "RulesPerInstance: 6", "RulesPerInstance: 0", "MB104", "Limits.RulesPerInstance", "RulesPerInstance: 0", ("1 to 100000", "got 0")),
    ("a boolean for a number", "RulesPerInstance: 6", "RulesPerInstance: true", "MB104", "Limits.RulesPerInstance", "RulesPerInstance: true", ("got true",)),
    ("a start that does not exist", "StartFrom: LAST", 'StartFrom: "2026-02-29T00:00:00Z"', "MB104", "InboundRules[0].Source.StartFrom", "StartFrom:", ("a time that exists", "day")),
    ("a start in a month that does not exist", "StartFrom: LAST", 'StartFrom: "2026-13-01T00:00:00Z"', "MB104", "InboundRules[0].Source.StartFrom", "StartFrom:", ("LAST, FIRST or a time such as",)),
    ("a start without zone", "StartFrom: LAST", 'StartFrom: "2026-01-01T00:00:00"', "MB104", "InboundRules[0].Source.StartFrom", "StartFrom:", ()),
    ("a dead-letter queue of another service", "acs:mq:local:0:/instances/rmq-local/topic/mqbridge_dlq", "acs:mns:local:0:/queues/dlq", "MB104", "Defaults.RunOptions.DeadLetterQueue.Arn", "Arn:", ("expected acs:mq:",)),
    ("a batch window that is too long", "TimeBasedWindow: 3", "TimeBasedWindow: 16", "MB104", "EventStreamings[0].RunOptions.BatchWindow.TimeBasedWindow", "TimeBasedWindow: 16", ("0 to 15",)),
    ("an unknown form", "Body: {Form: ORIGINAL}", "Body: {Form: RAW}", "MB104", "EventStreamings[0].Sink.SinkRocketMQParameters.Body.Form", "Form: RAW", ("ORIGINAL", "JSONPATH", "CONSTANT", "TEMPLATE")),
    ("a filter that is a list", 'FilterPattern: {data: {body: {temperature: [{numeric: [">", 80]}]}}}', "FilterPattern: []", "MB104", "EventStreamings[0].FilterPattern", "FilterPattern: []", ("an event pattern",)),
    ("a transform of two operators", "Transforms: []", "Transforms: [{Split: {}, Map: {}}]", "MB104", "EventStreamings[0].Transforms[0]", "{Split", ("one operator",)),
    ("a sink instance that is no constant", "Topic: {Form: CONSTANT, Value: alarms}", "Topic: {Form: CONSTANT, Value: alarms}\n        InstanceId: {Form: ORIGINAL}", "MB104", "EventStreamings[0].Sink.SinkRocketMQParameters.InstanceId.Form", "Form: ORIGINAL}\n        Body", ("expected CONSTANT",)),
    ("a literal password", "Password: env:MQTT_PASSWORD", "Password: hunter2", "MB105", "Instances.Mqtt[0].Password", "Password:", ("env:NAME", "not shown")),
    ("a literal secret key", "SecretKey: env:SECRET_KEY", "SecretKey: hunter2", "MB105", "Instances.RocketMQ[0].SecretKey", "SecretKey:", ("not shown",)),
    ("metadata instead of a source", "    Transforms: []\n", "    Metadata: {}\n", "MB106", "EventStreamings[0].Metadata", "Metadata:", ("Source",)),
    ("an unknown instance", "Source: {Topic: devices}", "Source: {InstanceId: mqtt-1, Topic: devices}", "MB201", "OutboundRules[0].Source.InstanceId", "InstanceId: mqtt-1", ("mqtt-local", "got 'mqtt-1'")),
    ("an unknown RocketMQ instance", "Source: {Topic: commands, StartFrom: LAST}", "Source: {InstanceId: rmq-1, Topic: commands}", "MB201", "InboundRules[0].Source.InstanceId", "InstanceId: rmq-1", ("rmq-local",)),
    ("a task's unknown instance", "{Topic: devices, BodyDataType: JSON}", "{InstanceId: mqtt-1, Topic: devices}", "MB201", "EventStreamings[0].Source.SourceMQTTParameters.InstanceId", "InstanceId: mqtt-1", ()),
    ("a sink's unknown instance", "Topic: {Form: CONSTANT, Value: alarms}", "InstanceId: {Form: CONSTANT, Value: rmq-1}\n        Topic: {Form: CONSTANT, Value: alarms}", "MB201", "EventStreamings[0].Sink.SinkRocketMQParameters.InstanceId", "InstanceId: {Form", ()),
    ("a rule id twice", "RuleId: commands", "RuleId: telemetry", "MB202", "InboundRules[0].RuleId", "<2>RuleId: telemetry", ("OutboundRules[0].RuleId",)),
    ("a task name twice", "EventStreamings:\n", "EventStreamings:\n  - EventStreamingName: hot-readings\n    Source: {SourceMQTTParameters: {Topic: screens}}\n    Sink: {SinkRocketMQParameters: {Topic: {Form: CONSTANT, Value: alarms}, Body: {Form: ORIGINAL}}}\n", "MB202", "EventStreamings[1].EventStreamingName", "<2>EventStreamingName", ()),
    ("an instance id twice", "  RocketMQ:\n", '    - {InstanceId: mqtt-local, Endpoint: "mqtt://h"}\n  RocketMQ:\n', "MB202", "Instances.Mqtt[1].InstanceId", "InstanceId: mqtt-local, ", ()),
    ("two outbound rules of one parent", "Source: {Topic: screens}", "Source: {Topic: devices}", "MB203", "OutboundRules[1].Source.Topic", "<2>Topic: devices}", ("one rule of this type for a parent topic", "OutboundRules[0].Source.Topic")),
    ("two inbound rules of one parent", "Destination: {Topic: screens}", "Destination: {Topic: devices}", "MB203", "InboundRules[1].Destination.Topic", "<3>Topic: devices}", ()),
    ("two status rules of one group", "GroupId: GID_other}", "GroupId: GID_sensor}", "MB203", "StatusRules[1].Source.GroupId", "<2>GroupId: GID_sensor}", ("for a group",)),
    ("more rules than an instance may have", "RulesPerInstance: 6", "RulesPerInstance: 5", "MB204", "StatusRules[1]", "RuleId: presence-2", ("at most 5 rules", "mqtt-local")),
    ("two regions", "Region: local\n      Version", "Region: elsewhere\n      Version", "MB205", "OutboundRules[0]", "RuleId: telemetry", ("one region", "rmq-local in elsewhere")),
    ("RocketMQ 5", 'Version: "4.x"', 'Version: "5.3.1"', "MB206", "OutboundRules[0]", "RuleId: telemetry", ("of version 4.x", "5.3.1")),
    ("an MQTT kernel of version 2", "Version: V3.3.0", "Version: V2.8.0", "MB207", "OutboundRules[0]", "RuleId: telemetry", ("V3.x.x", "V2.8.0")),
    ("a parent topic that the instance does not list", "Source: {Topic: devices}", "Source: {Topic: unlisted}", "MB208", "OutboundRules[0].Source.Topic", "Topic: unlisted", ("devices, screens, presence",)),
    ("a RocketMQ topic that the instance does not list", "Source: {Topic: commands, StartFrom: LAST}", "Source: {Topic: unlisted}", "MB208", "InboundRules[0].Source.Topic", "Topic: unlisted", ("telemetry, commands",)),
    ("a group that the instance does not list", "GroupId: GID_other}", "GroupId: GID_unlisted}", "MB208", "StatusRules[1].Source.GroupId", "GroupId: GID_unlisted", ("GID_sensor, GID_other",)),
    ("a consumer group that the instance does not list", "GroupId: GID_two}", "GroupId: GID_unlisted}", "MB208", "InboundRules[1].Source.GroupId", "GroupId: GID_unlisted", ("GID_mqbridge_commands, GID_two",)),
    ("a dead-letter topic that the instance does not list", "topic/mqbridge_dlq", "topic/unlisted", "MB208", "Defaults.RunOptions.DeadLetterQueue.Arn", "Arn:", ()),
    ("a routed topic that the instance does not list", "Transforms: []", "Transforms: [{Route: {rules: [{regex: a, targetTopics: [alarms, unlisted]}]}}]", "MB208", "EventStreamings[0].Transforms[0].Route.rules[0].targetTopics[1]", "unlisted]", ()),
    ("a default topic that the instance does not list", "Transforms: []", "Transforms: [{Route: {defaultTopic: unlisted, rules: []}}]", "MB208", "EventStreamings[0].Transforms[0].Route.defaultTopic", "defaultTopic", ()),
    ("a task's topic that the instance does not list", "Value: alarms", "Value: unlisted", "MB208", "EventStreamings[0].Sink.SinkRocketMQParameters.Topic.Value", "Value: unlisted", ()),
    ("which of two instances is not said", "  RocketMQ:\n", '    - {InstanceId: mqtt-2, Endpoint: "mqtt://h"}\n  RocketMQ:\n', "MB209", "OutboundRules[0].Source.InstanceId", "Source: {Topic: devices}", ("mqtt-local, mqtt-2", "got nothing")),
    ("a parent topic of two letters", "Topics: [devices,", "Topics: [ab, devices,", "", "", "", ()),
    ("a managed name", "Source: {Topic: devices}", "Source: {Topic: Geräte}", "MB210", "OutboundRules[0].Source.Topic", "Topic: Geräte", ("3 to 64 letters",)),
    ("a managed group", "GroupId: GID_other}", "GroupId: other-group}", "MB210", "StatusRules[1].Source.GroupId", "GroupId: other-group", ("GID_ or GID-",)),
    ("a managed group that is too short", "GroupId: GID_other}", "GroupId: GID_ab}", "MB210", "StatusRules[1].Source.GroupId", "GroupId: GID_ab}", ("7 to 64",)),
    ("a dead-letter queue of an unknown instance", "instances/rmq-local/", "instances/rmq-9/", "MB211", "Defaults.RunOptions.DeadLetterQueue.Arn", "Arn:", ("rmq-local", "'rmq-9'")),
    ("an access key alone", "      SecretKey: env:SECRET_KEY\n", "", "MB212", "Instances.RocketMQ[0].SecretKey", "InstanceId: rmq-local", ("together",)),
    ("a signature without keys", "      Username: bridge\n      Password: env:MQTT_PASSWORD\n", "      Auth: ApsaraSignature\n      SecretKey: env:SECRET_KEY\n", "MB212", "Instances.Mqtt[0].AccessKey", "InstanceId: mqtt-local", ("ApsaraSignature",)),
    ("a signature and a password", "      Username: bridge\n", "      Auth: ApsaraSignature\n      AccessKey: env:A\n      SecretKey: env:S\n", "MB212", "Instances.Mqtt[0].Password", "Password:", ("none beside Auth",)),
    ("two sources of the client id", "      Username: bridge\n", "      Username: bridge\n      ClientIdFrom: {TopicLevel: 2, UserProperty: id}\n", "MB212", "Instances.Mqtt[0].ClientIdFrom", "ClientIdFrom:", ("exactly one",)),
    ("no source of the message id", "      Username: bridge\n", "      Username: bridge\n      MessageIdFrom: {}\n", "MB212", "Instances.Mqtt[0].MessageIdFrom", "MessageIdFrom:", ("exactly one",)),
    ("TLS files and no TLS", "      Username: bridge\n", "      Username: bridge\n      Tls: {CaFile: ca.pem}\n", "MB212", "Instances.Mqtt[0].Tls", "Tls:", ("mqtts",)),
    ("a certificate without key", 'Endpoint: "mqtt://127.0.0.1:1883"', 'Endpoint: "mqtts://h"\n      Tls: {CertFile: c.pem}', "MB212", "Instances.Mqtt[0].Tls", "Tls:", ("CertFile and KeyFile together",)),
    ("a RocketMQ certificate without key", 'NameServers: ["127.0.0.1:9876"]', 'NameServers: ["127.0.0.1:9876"]\n      Tls: {CertFile: c.pem}', "MB212", "Instances.RocketMQ[0].Tls", "Tls:", ("CertFile and KeyFile together",)),
    ("a consumer group twice", "GroupId: GID_two}", "GroupId: GID_mqbridge_commands}", "MB213", "InboundRules[1].Source.GroupId", "GroupId: GID_mqbridge_commands}", ("a consumer group of its own",)),
    ("an event pattern that cannot be", 'numeric: [">", 80]', 'numeric: [">", eighty]', "MB215", "EventStreamings[0].FilterPattern.data.body.temperature[0].numeric", "numeric:", ("eighty",)),
    ("a path that is none", "Body: {Form: ORIGINAL}", "Body: {Form: JSONPATH, Value: data.body}", "MB217", "EventStreamings[0].Sink.SinkRocketMQParameters.Body.Value", "Value: data.body}", ("begins with $",)),
    ("a tag of two", "Body: {Form: ORIGINAL}", 'Body: {Form: ORIGINAL}\n        Tags: {Form: CONSTANT, Value: "a || b"}', "MB104", "EventStreamings[0].Sink.SinkRocketMQParameters.Tags.Value", 'Value: "a || b"', ("text without '||', blanks at an edge", "'a || b'")),
    ("a tag with a blank at its edge", "Body: {Form: ORIGINAL}", 'Body: {Form: ORIGINAL}\n        Tags: {Form: CONSTANT, Value: " a"}', "MB104", "EventStreamings[0].Sink.SinkRocketMQParameters.Tags.Value", 'Value: " a"', ("blanks at an edge",)),
    ("a tag with a control character", "Body: {Form: ORIGINAL}", 'Body: {Form: ORIGINAL}\n        Tags: {Form: CONSTANT, Value: "a\\tb"}', "MB104", "EventStreamings[0].Sink.SinkRocketMQParameters.Tags.Value", 'Value: "a\\tb"', ("control characters",)),
    ("keys with RocketMQ's separator", "Body: {Form: ORIGINAL}", 'Body: {Form: ORIGINAL}\n        Keys: {Form: CONSTANT, Value: "a\\x01"}', "MB104", "EventStreamings[0].Sink.SinkRocketMQParameters.Keys.Value", 'Value: "a\\x01"', ("which separate properties",)),
    ("keys that are too long", "Body: {Form: ORIGINAL}", f"Body: {{Form: ORIGINAL}}\n        Keys: {{Form: CONSTANT, Value: {'🎈' * 9_999}}}", "MB104", "EventStreamings[0].Sink.SinkRocketMQParameters.Keys.Value", "Value: 🎈", ("bytes in all",)),
    ("constant tags and keys", "Body: {Form: ORIGINAL}", 'Body: {Form: ORIGINAL}\n        Tags: {Form: CONSTANT, Value: "a | b"}\n        Keys: {Form: CONSTANT, Value: "k l"}', "", "", "", ()),
    ("a form that keys cannot have", "Body: {Form: ORIGINAL}", "Body: {Form: ORIGINAL}\n        Keys: {Form: ORIGINAL}", "MB217", "EventStreamings[0].Sink.SinkRocketMQParameters.Keys.Form", "<2>Form: ORIGINAL}", ("JSONPATH, CONSTANT or TEMPLATE",)),
]  # fmt: skip
FAULTY = [row for row in TABLE if row[3]]
SOUND_CHANGES = [row for row in TABLE if not row[3]]


def spoiled(old: str, new: str) -> str:
    assert SOUND.count(old) >= 1, f"not in the document: {old}"
    return SOUND.replace(old, new, 1)


def place_of(text: str, anchor: str) -> tuple[int, int]:
    """Return line and column, from 1, of a text in the document, comments aside."""
    times = 1
    if anchor.startswith("<"):
        count, _, anchor = anchor[1:].partition(">")
        times = int(count)
    at = -1
    for _ in range(times):
        at = text.index(anchor, at + 1)
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1


def faults_of(source: Any) -> list[Fault]:
    with pytest.raises(InvalidRules) as raised:
        load(source)
    return raised.value.faults


def written(folder: Path, text: str, name: str = "rules.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_document_that_the_table_spoils_is_sound() -> None:
    assert load(DATA / "rules.yaml").notices == ()


@pytest.mark.parametrize(("old", "new"), [row[1:3] for row in SOUND_CHANGES], ids=[row[0] for row in SOUND_CHANGES])
def test_what_no_rule_uses_is_free(old: str, new: str, tmp_path: Path) -> None:
    load(written(tmp_path, spoiled(old, new)))


@pytest.mark.parametrize("row", FAULTY, ids=[row[0] for row in FAULTY])
def test_a_fault_has_its_code_place_path_and_words(row: Row, tmp_path: Path) -> None:
    _, old, new, code, path, anchor, words = row
    text = spoiled(old, new)
    faults = faults_of(written(tmp_path, text))
    found = [fault for fault in faults if fault.code == code and format_path(fault.path) == path]
    assert len(found) == 1, [fault.text("rules.yaml") for fault in faults]
    if path != "Instances":  # where the whole document is meant, its place is where the document begins
        assert (found[0].line, found[0].column) == place_of(text, anchor)
    line = found[0].text("rules.yaml")
    assert line.startswith(f"rules.yaml:{found[0].line}:{found[0].column} {code} {path}: expected ")
    assert ", got " in line
    assert "\n" not in line
    for word in words:
        assert word in line


def test_every_code_that_the_package_can_raise_is_in_the_table() -> None:
    raised = set()
    for module in (ROOT / "layers/common/mqbridge/rules").glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Constant) and re.fullmatch(r"MB\d{3}", str(node.value)):
                raised.add(node.value)
    elsewhere = {
        "MB301",
        "MB214",
        "MB216",
    }  # the notice, tested with what is loaded; circles, tested below; operators, with them
    assert raised - {row[3] for row in FAULTY} == elsewhere


def test_a_circle_of_two_parents_under_mqtt_3_1_1_is_refused_at_each_step(tmp_path: Path) -> None:
    """devices -> first -> others -> second -> devices; with MQTT 5, or one rule disabled, it is none."""
    text = """
Instances:
  Mqtt: [{InstanceId: m, Endpoint: "mqtt://h", ProtocolVersion: 3.1.1}]
  RocketMQ: [{InstanceId: r, NameServers: ["h:1"]}]
OutboundRules:
  - {RuleId: out-1, Source: {Topic: devices}, Destination: {Topic: first}}
  - {RuleId: out-2, Source: {Topic: others}, Destination: {Topic: second}}
InboundRules:
  - {RuleId: in-1, Source: {Topic: first}, Destination: {Topic: others}}
  - {RuleId: in-2, Source: {Topic: second}, Destination: {Topic: devices}}
"""
    faults = faults_of(written(tmp_path, text))
    assert [(fault.code, format_path(fault.path)) for fault in faults] == [
        ("MB214", "InboundRules[0]"),
        ("MB214", "InboundRules[1]"),
    ]
    assert faults[0].got == "a way from m/devices to m/others and back"
    load(written(tmp_path, text.replace("3.1.1", "5")))
    load(written(tmp_path, text.replace("RuleId: in-2", "RuleId: in-2, Status: Disabled")))


def test_all_faults_of_a_document_are_told_at_once_in_its_order(tmp_path: Path) -> None:
    text = SOUND
    changes = [
        ("Endpoint:", "EndPoint:"),
        ("Password: env:MQTT_PASSWORD", "Password: hunter2"),
        ("Source: {Topic: screens}", "Source: {Topic: 7}"),
        ("StartFrom: LAST", "StartFrom: NOW"),
        ("GroupId: GID_other}", "GroupId: other-group}"),
        ("Form: ORIGINAL", "Form: RAW"),
    ]
    for old, new in changes:
        text = text.replace(old, new, 1)
    faults = faults_of(written(tmp_path, text))
    told = {(fault.code, format_path(fault.path)) for fault in faults}
    assert told >= {
        ("MB101", "Instances.Mqtt[0].EndPoint"),
        ("MB102", "Instances.Mqtt[0].Endpoint"),
        ("MB105", "Instances.Mqtt[0].Password"),
        ("MB104", "OutboundRules[1].Source.Topic"),
        ("MB104", "InboundRules[0].Source.StartFrom"),
        ("MB210", "StatusRules[1].Source.GroupId"),
        ("MB104", "EventStreamings[0].Sink.SinkRocketMQParameters.Body.Form"),
    }
    assert len(told) == len(faults), "each of them once"
    places = [(fault.line, fault.column) for fault in faults]
    assert places == sorted(places)


def test_a_faulty_part_is_not_blamed_on_the_rules_that_name_it(tmp_path: Path) -> None:
    """An instance with a fault of its own is still there to be named."""
    faults = faults_of(written(tmp_path, spoiled("mqtt://127.0.0.1:1883", "nonsense")))
    assert [(fault.code, format_path(fault.path)) for fault in faults] == [("MB104", "Instances.Mqtt[0].Endpoint")]


def test_a_rule_without_any_instance_to_name_is_told_which_are_missing() -> None:
    faults = faults_of(document(Instances={}, OutboundRules=[outbound_rule()]))
    assert {(fault.code, format_path(fault.path), fault.expected) for fault in faults} == {
        ("MB209", "OutboundRules[0].Source.InstanceId", "an instance in Instances.Mqtt"),
        ("MB209", "OutboundRules[0].Destination.InstanceId", "an instance in Instances.RocketMQ"),
    }


def test_the_error_s_text_is_one_line_per_fault(tmp_path: Path) -> None:
    path = written(tmp_path, spoiled("Source: {Topic: devices}", "Source: {Topic: 7, Topik: 8}"))
    with pytest.raises(InvalidRules) as raised:
        load(path)
    lines = str(raised.value).splitlines()
    assert lines == [fault.text(str(path)) for fault in raised.value.faults]
    assert len(lines) == 2
    assert lines[0].startswith(f"{path}:")


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("OutboundRule", "OutboundRules"),
        ("outboundrules", "OutboundRules"),
        ("InboundRulez", "InboundRules"),
        ("EventStreaming", "EventStreamings"),
        ("LIMITS", "Limits"),
        ("Default", "Defaults"),
    ],
)
def test_an_unknown_key_is_told_what_may_be_meant(key: str, meant: str) -> None:
    (fault,) = faults_of(document(**{key: []}))
    assert (fault.code, fault.path) == ("MB101", (key,))
    assert fault.help == f"did you mean {meant}?"


def test_a_key_that_resembles_nothing_gets_no_guess() -> None:
    (fault,) = faults_of(document(Xyzzy=1))
    assert fault.help == ""


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("Region: local\n      Version", "Region: elsewhere\n      Version"), "CrossRegion"),
        (('Version: "4.x"', 'Version: "5.x"'), "RocketMQVersions"),
        (("RulesPerInstance: 6", "RulesPerInstance: 5"), "RulesPerInstance"),
        (("Source: {Topic: devices}", "Source: {Topic: Geräte}"), "Names"),
        (("Password: env:MQTT_PASSWORD", "Password: hunter2"), "environment variable"),
    ],
)
def test_help_names_the_next_step(change: tuple[str, str], word: str, tmp_path: Path) -> None:
    faults = faults_of(written(tmp_path, spoiled(*change)))
    assert any(word in fault.help for fault in faults)


# A list with a faulty item is checked no further, and hides nothing.


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ({"Limits": {"RocketMQVersions": ["6.x"]}}, "Limits.RocketMQVersions[0]"),
        ({"mqtt": {"Topics": ["bad/topic", "other"]}}, "Instances.Mqtt[0].Topics[0]"),
        ({"mqtt": {"Groups": [7, "GID_other"]}}, "Instances.Mqtt[0].Groups[0]"),
        ({"rocketmq": {"Topics": ["bad topic", "other"]}}, "Instances.RocketMQ[0].Topics[0]"),
        ({"rocketmq": {"Groups": ["bad group"]}}, "Instances.RocketMQ[0].Groups[0]"),
    ],
    ids=str,
)
def test_a_faulty_item_of_a_list_is_a_fault_and_no_crash(parts: dict[str, Any], path: str) -> None:
    status = {"RuleId": "presence", "Source": {"GroupId": "GID_sensor"}, "Destination": {"Topic": "status"}}
    whole = document(OutboundRules=[outbound_rule()], InboundRules=[inbound_rule()], StatusRules=[status])
    whole["Instances"]["Mqtt"][0] |= parts.get("mqtt", {})
    whole["Instances"]["RocketMQ"][0] |= parts.get("rocketmq", {})
    whole |= {key: value for key, value in parts.items() if key == "Limits"}
    assert path in [format_path(fault.path) for fault in faults_of(whole)]


# JSON and TOML.


def test_json_faults_have_line_and_column(tmp_path: Path) -> None:
    text = json.dumps(document(OutboundRules=[outbound_rule(parent="a/b")]), indent=2)
    (fault,) = faults_of(written(tmp_path, text, "rules.json"))
    assert (fault.line, fault.column) == place_of(text, '"Topic": "a/b"')


@pytest.mark.parametrize("indent", [None, 1, "\t"])
def test_json_places_do_not_depend_on_the_layout(indent: Any, tmp_path: Path) -> None:
    text = json.dumps(
        document(
            Limits={"Names": "Mqtt"}, OutboundRules=[outbound_rule("out-1", 'a"b\\ä'), outbound_rule("out-2", "x/y")]
        ),
        indent=indent,
    )
    (fault,) = faults_of(written(tmp_path, text, "rules.json"))
    assert (fault.line, fault.column) == place_of(text, '"Topic": "x/y"')


def test_a_key_that_stands_twice_in_json_has_its_path_and_place(tmp_path: Path) -> None:
    text = json.dumps(document(OutboundRules=[outbound_rule()]), indent=1).replace(
        '"Topic": "devices"', '"Topic": "other",\n    "Topic": "devices"'
    )
    (fault,) = faults_of(written(tmp_path, text, "rules.json"))
    assert (fault.code, format_path(fault.path)) == ("MB103", "OutboundRules[0].Source.Topic")
    assert (fault.line, fault.column) == place_of(text, '"Topic": "devices"')


def test_toml_faults_have_their_path(tmp_path: Path) -> None:
    text = '[[Instances.Mqtt]]\nInstanceId = "m"\nEndpoint = "nonsense"\n'
    (fault,) = faults_of(written(tmp_path, text, "rules.toml"))
    assert (fault.code, format_path(fault.path)) == ("MB104", "Instances.Mqtt[0].Endpoint")


@pytest.mark.parametrize("data", ["just text", "5", "[]", "", "# nothing\n", "null", "true"])
def test_a_document_that_is_no_mapping_is_told_so(data: str, tmp_path: Path) -> None:
    (fault,) = faults_of(written(tmp_path, data))
    assert (fault.code, fault.path, fault.line, fault.column) == ("MB104", (), 1, 1)
    assert "(document)" in fault.text("x")
    assert "a mapping" in fault.expected


def test_a_yaml_merge_key_that_is_overridden_is_no_key_twice(tmp_path: Path) -> None:
    text = 'Instances:\n  Mqtt:\n    - &first {InstanceId: one, Endpoint: "mqtt://h"}\n    - {<<: *first, InstanceId: two}\n'
    assert set(load(written(tmp_path, text)).mqtt) == {"one", "two"}


def test_keys_that_are_no_text_are_faults_and_no_crash(tmp_path: Path) -> None:
    text = SOUND + "7: seven\non: true\nnull: x\n"
    codes = [fault.code for fault in faults_of(written(tmp_path, text))]
    assert codes == ["MB101"] * 3


def test_a_filter_may_have_keys_that_yaml_reads_as_other_than_text(tmp_path: Path) -> None:
    """In YAML 1.1 `on` is a boolean and 7 a number; neither may break the loading of a pattern that is only checked for its shape."""
    text = spoiled("FilterPattern: {data:", "FilterPattern: {on: [1], 7: [2], text: [3], data:")
    load(written(tmp_path, text))


# What cannot be read.


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("broken.yaml", b"a: [1", "not YAML: line 1"),
        ("tab.yaml", b"a:\n\t- b", "not YAML: line 2"),
        ("two.yaml", b"a: 1\n---\nb: 2\n", "not YAML"),
        ("circle.yaml", b"a: &a [*a]", "not YAML"),
        ("alias.yaml", b"a: *nowhere", "not YAML"),
        ("tag.yaml", b"a: !!python/object/apply:os.system [ls]", "not YAML"),
        ("broken.json", b'{"a": ', "not JSON"),
        ("empty.json", b"", "not JSON"),
        ("deep.json", b"[" * 100_000, "nested too deeply"),
        ("broken.toml", b"a = ", "not TOML"),
        ("deep.toml", b"a = " + b"[" * 5_000 + b"]" * 5_000, "nested too deeply"),
        ("binary.yaml", b"\x80\x81\xff", "cannot be read"),
        ("binary.json", b"\xff\xfe{\x00}\x00", "cannot be read"),
        ("control.yaml", b"a: \x00\x01", "not YAML"),
    ],
)
def test_what_is_not_in_its_format_is_unreadable(name: str, content: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnreadableRules) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert word in str(raised.value)
    assert (raised.value.name, str(raised.value)) == (str(path), f"{path}: {raised.value.why}")


@pytest.mark.parametrize("source", ["/nowhere/rules.yaml", "", "x\0y", "x" * 5_000, str(ROOT)])
def test_what_is_no_file_is_unreadable(source: str) -> None:
    with pytest.raises(UnreadableRules, match="cannot be read: "):
        load(source)


def test_broken_json_text_is_unreadable() -> None:
    with pytest.raises(UnreadableRules, match="not JSON"):
        load('{"Instances": ')


# Secrets.

SECRET = "hunter2-very-secret"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Password: env:MQTT_PASSWORD", f"Password: {SECRET}"),
        ("Password: env:MQTT_PASSWORD", f"Password: [{SECRET}]"),
        ("Password: env:MQTT_PASSWORD", f"Password: {{Value: {SECRET}}}"),
        ("Password: env:MQTT_PASSWORD", f"Passwort: {SECRET}"),
        ("Password: env:MQTT_PASSWORD", f"Password: {SECRET}\n      Password: {SECRET}"),
        ("AccessKey: env:ACCESS_KEY", f"AccessKey: {SECRET}"),
        ("SecretKey: env:SECRET_KEY", f"SecretKey: {SECRET}"),
        ("SecretKey: env:SECRET_KEY", f"SecurityToken: {SECRET}"),
        ("mqtt://127.0.0.1:1883", f"mqtt://user:{SECRET}@127.0.0.1:1883"),
        ("mqtt://127.0.0.1:1883", f"mqtt://user:a/{SECRET}@127.0.0.1:1883"),
        ("mqtt://127.0.0.1:1883", f"mqtt://user:a@{SECRET}@127.0.0.1:1883"),
        ("mqtt://127.0.0.1:1883", f"mqtt://{SECRET}@127.0.0.1:1883"),
        ('["127.0.0.1:9876"]', f'["user:{SECRET}@127.0.0.1:9876"]'),
        ("Password: env:MQTT_PASSWORD", f"Password: {SECRET}\n     Indented: wrongly"),
        ("Password: env:MQTT_PASSWORD", f'Password: "{SECRET}'),
        ("Password: env:MQTT_PASSWORD", f'Password: "{SECRET}" oops'),
    ],
)  # fmt: skip
def test_a_secret_is_never_shown(old: str, new: str, tmp_path: Path) -> None:
    with pytest.raises(RulesError) as raised:
        load(written(tmp_path, spoiled(old, new)))
    error = raised.value
    faults = error.faults if isinstance(error, InvalidRules) else []
    shown = [str(error), repr(error), *map(repr, faults), *traceback.format_exception(error)]
    # The lines of this test are in the traceback too; the planted text stands in none of them.
    assert SECRET not in "\n".join(shown)


def test_an_ignored_password_of_the_api_is_not_shown_in_its_notice(tmp_path: Path) -> None:
    text = spoiled(
        "        Body: {Form: ORIGINAL}\n", f"        Body: {{Form: ORIGINAL}}\n        InstancePassword: {SECRET}\n"
    )
    rules = load(written(tmp_path, text))
    assert [notice.path[-1] for notice in rules.notices] == ["InstancePassword"]
    assert SECRET not in repr(rules) + rules.notices[0].text("rules.yaml")


@pytest.mark.parametrize("reference", ["env:NAME", "secretsmanager:NAME#key", "ssm:/a/b", "file:/run/secrets/x"])
def test_a_reference_to_a_secret_is_kept(reference: str, tmp_path: Path) -> None:
    rules = load(written(tmp_path, spoiled("Password: env:MQTT_PASSWORD", f"Password: {json.dumps(reference)}")))
    assert rules.mqtt["mqtt-local"].password == reference


def test_the_yaml_loader_takes_no_time_for_a_date(tmp_path: Path) -> None:
    """2026-01-01T00:00:00Z is the text that it is in the JSON that ships."""
    rules = load(written(tmp_path, spoiled("StartFrom: LAST", "StartFrom: 2026-01-01T00:00:00Z")))
    assert rules.inbound[0].source.start_from == "2026-01-01T00:00:00Z"
    assert yaml.safe_load("2026-01-01T00:00:00Z") != "2026-01-01T00:00:00Z", "which it would be elsewhere"
