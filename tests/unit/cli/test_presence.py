"""mqbridge presence without a broker: what it reads, and what it says of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from mqbridge.rules import load
from mqbridge_cli.main import main
from mqbridge_cli.presence import Follower, topics_of
from rocketmq_remoting import StoredMessage
from tests.unit.mqbridge.support import document


def stored(event_type: str, client: str = "d1", channel: str = "c1", time_ms: int = 1_767_225_600_000) -> StoredMessage:
    body = {
        "clientId": client,
        "time": time_ms,
        "eventType": event_type,
        "channelId": channel,
        "clientIp": "192.0.2.1:5",
    }
    return message(json.dumps(body).encode())


def message(body: bytes) -> StoredMessage:
    return StoredMessage(
        topic="client_status",
        queue_id=0,
        queue_offset=0,
        physical_offset=0,
        body=body,
        properties={},
        born_timestamp_ms=0,
        store_timestamp_ms=0,
        reconsume_times=0,
    )


def rule(rule_id: str, topic: str, group: str) -> dict[str, Any]:
    return {"RuleId": rule_id, "Source": {"GroupId": group}, "Destination": {"Topic": topic}}


RULES = document(
    StatusRules=[rule("one", "a", "GID_one"), rule("two", "a", "GID_two"), rule("three", "b", "GID_three")]
)


def test_the_table_says_who_is_online() -> None:
    follower = Follower("text")
    list(follower.take([stored("connect"), stored("connect", "d22", "c2"), stored("tcpclean"), message(b"no notice")]))
    assert list(follower.online()) == [
        "CLIENT  SINCE                 FROM         CONNECTIONS",
        "d22     2026-01-01T00:00:00Z  192.0.2.1:5  1",
        "1 online",
    ]
    assert follower.passed_over == 1


def test_a_line_for_each_that_comes_or_goes_and_for_nothing_else() -> None:
    follower = Follower("text")
    assert list(follower.take([stored("connect"), stored("connect"), stored("disconnect"), stored("tcpclean")])) == [
        "2026-01-01T00:00:00Z  online   d1",
        "2026-01-01T00:00:00Z  offline  d1",
    ]


def test_json_has_a_line_for_each_client() -> None:
    follower = Follower("json")
    changes = [
        json.loads(line)
        for line in follower.take([stored("connect"), stored("tcpclean"), stored("connect", channel="c2")])
    ]
    assert [each["online"] for each in changes] == [True, False, True]
    (client,) = [json.loads(line) for line in follower.online()]
    assert client == {
        "clientId": "d1",
        "online": True,
        "since": 1_767_225_600_000,
        "clientIp": "192.0.2.1:5",
        "connections": 1,
    }


def test_a_time_beyond_the_calendar_is_shown_as_it_is() -> None:
    assert list(Follower("text").take([stored("connect", time_ms=1 << 53)])) == [f"{1 << 53}  online   d1"]


def test_each_topic_is_read_once() -> None:
    assert topics_of(load(RULES), None) == [("rmq-local", "a"), ("rmq-local", "b")]
    assert topics_of(load(RULES), "three") == [("rmq-local", "b")]


def test_a_rule_that_is_not_there_and_rules_that_cannot_be_read_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(RULES))
    assert main(["presence", "--rules", str(path), "--rule", "four"]) == 2
    assert "expected a status rule (one, two, three), got four" in capsys.readouterr().err
    path.write_text(json.dumps({**RULES, "Unknown": 1}))
    assert main(["presence", "--rules", str(path)]) == 2
    assert "MB101" in capsys.readouterr().err
    assert main(["presence", "--rules", str(tmp_path / "none.json")]) == 2


def test_a_cluster_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rules.json"
    rules = document(StatusRules=[rule("one", "a", "GID_one")])
    rules["Instances"]["RocketMQ"][0]["NameServers"] = ["127.0.0.1:1"]
    path.write_text(json.dumps(rules))
    assert main(["presence", "--rules", str(path), "--once"]) == 2
    assert "cannot be read" in capsys.readouterr().err
