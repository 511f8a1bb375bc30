"""mqbridge dlq on a real RocketMQ and an SQS on loopback: what was dead-lettered is found, told and delivered, once."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.javatool import consume, produce
from devstack.mosquitto import Mosquitto
from devstack.processes import wait_until
from devstack.rocketmq import RocketMQ
from functions.inbound.app import handler as inbound
from functions.outbound.app import handler as outbound
from mqbridge.rules import load
from mqbridge_cli.dlq.state import Redriven
from mqbridge_cli.main import main
from rocketmq_remoting import Client
from rocketmq_remoting.codes import RequestCode
from rocketmq_remoting.exchange import exchange, require
from tests.integration.aws_server import Aws, pretended
from tests.integration.handling import handling
from tests.integration.running_bridge import connected, data_rules

Output = pytest.CaptureFixture[str]


class Site:
    """Rules whose outbound topic may not exist yet, the queue for dead letters, and the command on both."""

    def __init__(self, directory: Path, document: dict[str, Any], output: Output) -> None:
        self._path = directory / "rules.json"
        self._state = directory / "state" / "redriven.jsonl"
        self._output = output
        self.change(document)

    def change(self, document: dict[str, Any]) -> None:
        self.document = document
        self._path.write_text(json.dumps(document))

    def handle(self, event: Any, handler: Any = outbound) -> list[str]:
        """Have the handler take an event, and return the ids that it reports."""
        rules = load(self.document)
        with handling(rules):
            response = handler(event, None)
        return [each["itemIdentifier"] for each in response["batchItemFailures"]]

    def dlq(self, verb: str, *options: str) -> tuple[int, str, str]:
        """Run `mqbridge dlq`, and return exit code, data and talk."""
        self._output.readouterr()
        code = main(["dlq", verb, "--rules", str(self._path), "--state", str(self._state), *options])
        captured = self._output.readouterr()
        return code, captured.out, captured.err

    def groups(self, *options: str) -> list[tuple[str | None, str, int]]:
        """Return (rule, reason, count) of what `list` finds."""
        code, out, talk = self.dlq("list", "--format", "json", *options)
        assert code == 0, talk
        return [(each["rule"], each["reason"], each["count"]) for each in json.loads(out)["groups"]]

    def letters(self, *options: str) -> list[dict[str, Any]]:
        """Return what `show` prints."""
        _, out, _ = self.dlq("show", *options)
        decoder, found = json.JSONDecoder(), []
        while out.strip():
            letter, end = decoder.raw_decode(out.strip())
            found.append(letter)
            out = out.strip()[end:]
        return found

    def redrive(self, *options: str) -> tuple[int, list[dict[str, Any]], dict[str, int]]:
        """Return exit code, what became of each letter, and the summary."""
        code, out, talk = self.dlq("redrive", "--format", "json", *options)
        *lines, last = [json.loads(line) for line in out.splitlines()] or [{"summary": {}}]
        assert lines or last, talk
        return code, lines, last["summary"]


def published(*numbers: int, user_property: str = "v") -> dict[str, Any]:
    """Return an SQS batch of PUBLISHes whose retries are over."""
    return {
        "Records": [
            {
                "messageId": f"m-{n}",
                "eventSource": "aws:sqs",
                "attributes": {"ApproximateReceiveCount": "4", "SentTimestamp": "1767225600000"},
                "body": json.dumps(
                    {
                        "props": {
                            "firstTopic": "devices",
                            "secondTopic": f"/d{n}/up",
                            "userProperties": [{"key": "k", "value": user_property}],
                        },
                        "body": str(n),
                    }
                ),
            }
            for n in numbers
        ]
    }


def rules(mosquitto: Mosquitto, rocketmq: RocketMQ, topic: str, dead: str) -> dict[str, Any]:
    options = {"RetryStrategy": {"PushRetryStrategy": "BACKOFF_RETRY"}, "DeadLetterQueue": {"Arn": dead}}
    return data_rules(
        mosquitto,
        rocketmq,
        Defaults={"RunOptions": options},
        OutboundRules=[{"RuleId": "out", "Source": {"Topic": "devices"}, "Destination": {"Topic": topic}}],
        InboundRules=[{"RuleId": "into", "Source": {"Topic": "commands"}, "Destination": {"Topic": "devices"}}],
    )


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    with pretended(monkeypatch) as account:
        yield account


@pytest.fixture(params=["rocketmq", "sqs"])
def site(
    request: pytest.FixtureRequest,
    mosquitto: Mosquitto,
    rocketmq: RocketMQ,
    fresh_topic: str,
    tmp_path: Path,
    capsys: Output,
    aws: Aws,
) -> Site:
    """A site with a dead-letter queue of each kind."""
    if request.param == "sqs":
        dead = aws.queue("dead")
    else:
        rocketmq.create_topic(f"{fresh_topic}_dead")
        dead = f"acs:mq:local:0:/instances/rmq-test/topic/{fresh_topic}_dead"
    return Site(tmp_path, rules(mosquitto, rocketmq, fresh_topic, dead), capsys)


def test_letters_are_counted_shown_and_left_where_they_lie(site: Site) -> None:
    site.handle({"Records": [*published(1, 2, 3)["Records"], *published(4, user_property="v" * 9_000)["Records"]]})
    everything = [("out", "route_not_found", 3), ("out", "user_properties_too_large", 1)]
    assert site.groups() == site.groups("--since", "1h") == everything
    assert site.groups("--stage", "sending", "--rule", "out") == everything[:1]
    assert site.groups("--until", "1h") == []
    assert sum(count for _, _, count in site.groups("--max", "2")) == 2
    whole = site.letters()
    assert {json.loads(letter["event"]["body"])["body"] for letter in whole} == {"1", "2", "3", "4"}
    (one,) = site.letters("--id", whole[0]["id"])
    assert one == whole[0]
    assert one["deadLetter"]["attempts"] == 4
    assert site.dlq("show", "--id", "nobody's")[0] == 1


def test_list_and_redrive_as_people_read_them(site: Site, rocketmq: RocketMQ, fresh_topic: str) -> None:
    assert site.dlq("list") == (0, "", "no dead letters\n")
    site.handle({"Records": [*published(1)["Records"], {**published(2)["Records"][0], "body": "not JSON"}]})
    rocketmq.create_topic(fresh_topic)
    ids = {letter["deadLetter"]["rule"]: letter["id"] for letter in site.letters()}
    _, text, _ = site.dlq("list")
    queue, head, *rows = text.splitlines()
    assert queue == site.document["Defaults"]["RunOptions"]["DeadLetterQueue"]["Arn"]
    assert head.split() == ["COUNT", "RULE", "STAGE", "REASON", "OLDEST", "NEWEST", "EXAMPLE"]
    assert sorted((*row.split()[:4], row.split()[-1]) for row in rows) == [
        ("1", "-", "receiving", "unreadable_record", ids[None]),
        ("1", "out", "sending", "route_not_found", ids["out"]),
    ]
    code, text, talk = site.dlq("redrive")
    *lines, summary = text.splitlines()
    assert (code, summary, talk) == (1, "summary: 1 send, 1 skipped", "nothing was sent: --apply sends\n")
    skipped, would = sorted(lines, key=lambda line: " send " in line)
    assert would == f"{ids['out']} out send -> rocketmq rmq-test {fresh_topic}"
    assert skipped.startswith(f"{ids[None]} - skipped: no rule had taken the event yet")
    code, text, _ = site.dlq("redrive", "--apply", "--rule", "out")
    assert code == 0
    assert text == f"{ids['out']} out delivered -> rocketmq rmq-test {fresh_topic}\nsummary: 1 delivered\n"


def test_redrive_is_dry_unless_told_otherwise(site: Site, rocketmq: RocketMQ, fresh_topic: str) -> None:
    site.handle(published(1, 2))
    rocketmq.create_topic(fresh_topic)
    code, lines, summary = site.redrive()
    assert (code, summary) == (0, {"send": 2})
    (message,) = lines[0]["messages"]
    assert (message["to"], message["topic"], message["body"] in ("1", "2")) == ("rocketmq", fresh_topic, True)
    assert site.groups() == [("out", "route_not_found", 2)]
    assert consume(rocketmq.name_server, fresh_topic, 1, timeout_s=3) == []


def test_redriven_letters_are_delivered_once_and_gone(site: Site, rocketmq: RocketMQ, fresh_topic: str) -> None:
    site.handle(published(*range(25)))
    rocketmq.create_topic(fresh_topic)
    code, lines, summary = site.redrive("--apply", "--max", "10")
    assert (code, summary) == (0, {"delivered": 10})
    assert all(line["rule"] == "out" and "messages" not in line for line in lines)
    code, _, summary = site.redrive("--apply")
    assert (code, summary) == (0, {"delivered": 15})
    assert site.groups() == []
    assert site.redrive("--apply") == (0, [], {})
    stored = consume(rocketmq.name_server, fresh_topic, 26, timeout_s=5)
    assert sorted(int(each["body"]) for each in stored) == list(range(25))
    assert {each["properties"]["mqttSecondTopic"] for each in stored} == {f"/d{n}/up" for n in range(25)}


def test_what_cannot_be_sent_yet_stays_where_it_lies(site: Site) -> None:
    """The topic is still missing: the letter is not written anew, and its retries of before do not count."""
    site.handle(published(1))
    (before,) = site.letters()
    code, (line,), summary = site.redrive("--apply")
    assert (code, summary) == (1, {"failed": 1})
    assert line["detail"].startswith("route_not_found")
    assert site.letters() == [before]


def test_a_broker_that_is_away_ends_the_run_early(site: Site) -> None:
    site.handle(published(*range(8)))
    code, lines, summary = site.redrive("--apply")
    assert (code, len(lines), summary) == (1, 5, {"failed": 5})
    assert site.groups() == [("out", "route_not_found", 8)]


def test_what_fails_again_goes_back_with_its_history_and_only_force_sends_it_a_third_time(
    site: Site, rocketmq: RocketMQ, fresh_topic: str
) -> None:
    rocketmq.create_topic(fresh_topic)
    site.handle(published(1, user_property="v" * 9_000))
    (first,) = site.letters()
    code, _, summary = site.redrive()
    assert (code, summary) == (1, {"reject": 1})
    code, _, summary = site.redrive("--apply")
    assert (code, summary) == (1, {"dead_lettered": 1})
    (second,) = site.letters()
    assert second["deadLetter"]["redriveOf"] == first["id"] != second["id"]
    assert second["deadLetter"]["redriveCount"] == 1
    assert second["deadLetter"]["firstFailure"] == first["deadLetter"].get(
        "firstFailure", second["deadLetter"]["firstFailure"]
    )
    assert second["event"] == first["event"]
    code, (line,), summary = site.redrive("--apply")
    assert (code, summary) == (1, {"skipped": 1})
    assert "--force" in line["detail"]
    assert site.redrive("--apply", "--force")[2] == {"dead_lettered": 1}
    (third,) = site.letters()
    assert (third["deadLetter"]["redriveOf"], third["deadLetter"]["redriveCount"]) == (second["id"], 2)


def test_rules_that_were_corrected_deliver_what_they_had_rejected(site: Site, mosquitto: Mosquitto) -> None:
    """An inbound rule whose topics were too long for the managed limit, lifted afterwards; by the runner's event."""
    event = {
        "specversion": "1.0",
        "id": "0A0B0C0D00002A139A5B00D5E1F30001",
        "source": "acs:mq",
        "type": "mq:Topic:SendMessage",
        "mqbridgerule": "into",
        "mqbridgeattempt": 9,
        "data": {"topic": "commands", "userProperties": {"mqttSecondTopic": "/" + "d" * 200}, "body": "on"},
    }
    assert site.handle([event], inbound) == []
    assert [rule for rule, _, _ in site.groups()] == ["into"]
    site.change({**site.document, "Limits": {"MaxTopicLength": 1_000}})
    with connected(mosquitto, "devices/#") as (_, received):
        assert site.redrive("--apply")[2] == {"delivered": 1}
        assert wait_until(lambda: len(received) == 1, timeout_s=10)
    assert received[0].topic == "devices/" + "d" * 200
    assert site.groups() == []


def test_a_rule_that_is_disabled_or_gone_keeps_its_letters(site: Site) -> None:
    site.handle(published(1))
    (out,) = site.document["OutboundRules"]
    site.change({**site.document, "OutboundRules": [{**out, "Status": "Disabled"}]})
    assert site.redrive("--apply")[2] == {"dropped": 1}
    site.change({**site.document, "OutboundRules": []})
    code, (line,), summary = site.redrive("--apply")
    assert (code, summary) == (1, {"skipped": 1})
    assert "expected one rule or task 'out'" in line["detail"]
    assert site.groups() == [("out", "route_not_found", 1)]


def test_an_event_that_was_cut_short_is_shown_and_not_redriven(site: Site) -> None:
    event = published(1)
    event["Records"][0]["messageAttributes"] = {"fill": {"stringValue": "x" * 5_000_000}}
    site.handle(event)
    (letter,) = site.letters()
    assert letter["deadLetter"]["truncated"]["length"] > 5_000_000
    assert isinstance(letter["event"], str)
    code, (line,), summary = site.redrive("--apply")
    assert (code, summary) == (1, {"skipped": 1})
    assert "only its head is here" in line["detail"]


def test_the_rate_is_kept(site: Site, rocketmq: RocketMQ, fresh_topic: str) -> None:
    rocketmq.create_topic(fresh_topic)
    site.handle({"Records": published(*range(5), user_property="v" * 9_000)["Records"]})
    began = time.monotonic()
    assert site.redrive("--apply", "--rate", "5/s")[2] == {"dead_lettered": 5}
    assert time.monotonic() - began > 0.75


# What only one kind of queue has.


def test_reading_a_topic_disturbs_no_consumer_and_leaves_no_group(
    rocketmq: RocketMQ, mosquitto: Mosquitto, fresh_topic: str, tmp_path: Path, capsys: Output
) -> None:
    """More letters than one pull brings, and messages of others among them."""
    dead = f"{fresh_topic}_dead"
    rocketmq.create_topic(dead)
    site = Site(
        tmp_path,
        rules(mosquitto, rocketmq, fresh_topic, f"acs:mq:local:0:/instances/rmq-test/topic/{dead}"),
        capsys,
    )
    site.handle(published(*range(150)))
    produce(rocketmq.name_server, [{"topic": dead, "body": b"\xff not ours"}])
    assert site.groups() == [("out", "route_not_found", 150), (None, "(no envelope)", 1)]
    code, (line,), _ = site.redrive("--apply", "--reason", "(no envelope)")
    assert (code, line["outcome"]) == (1, "skipped")
    assert "no envelope" in line["detail"]
    client = Client([rocketmq.name_server])
    broker = client.connection(rocketmq.broker_address)
    (answer,) = exchange([(broker, RequestCode.GET_ALL_CONSUMER_OFFSET, {}, b"")], time.monotonic() + 5)
    client.close()
    # RocketMQ 5 also notes how far who has pulled, which moves nobody's beginning.
    committed = require(answer).body.decode().partition('"pullOffsetTable"')[0]
    assert '"offsetTable"' in committed
    assert f"{dead}@" not in committed
    assert len(consume(rocketmq.name_server, dead, 151, timeout_s=15)) == 151


def test_a_topic_that_is_missing_and_a_broker_that_is_away_exit_2(
    rocketmq: RocketMQ, mosquitto: Mosquitto, fresh_topic: str, tmp_path: Path, capsys: Output, aws: Aws
) -> None:
    missing = f"acs:mq:local:0:/instances/rmq-test/topic/{fresh_topic}_missing"
    site = Site(tmp_path, rules(mosquitto, rocketmq, fresh_topic, missing), capsys)
    for verb in ("list", "show", "redrive"):
        code, _, talk = site.dlq(verb)
        assert code == 2
        assert missing in talk
    for queue, why in (
        (f"arn:aws:sqs:eu-west-1:123456789012:{fresh_topic}", "NonExistentQueue"),
        ("arn:aws:events:eu-west-1:123456789012:event-bus/b", "a bus keeps nothing"),
        ("acs:mq:local:0:/instances/rmq-9/topic/t", "got 'rmq-9'"),
        ("acs:mns:local:0:/queues/q", "SMQ (MNS)"),
    ):
        code, _, talk = site.dlq("list", "--queue", queue)
        assert code == 2
        assert why in talk
    assert aws.url


def test_letters_that_went_over_a_bus_are_read_where_its_rule_puts_them(
    rocketmq: RocketMQ, mosquitto: Mosquitto, fresh_topic: str, tmp_path: Path, capsys: Output, aws: Aws
) -> None:
    bus, queue = aws.bus("dead")
    site = Site(tmp_path, rules(mosquitto, rocketmq, fresh_topic, bus), capsys)
    assert site.handle(published(1)) == []
    assert site.groups("--queue", queue) == [("out", "route_not_found", 1)]
    rocketmq.create_topic(fresh_topic)
    assert site.redrive("--queue", queue, "--apply")[2] == {"delivered": 1}
    assert site.groups("--queue", queue) == []
    assert len(consume(rocketmq.name_server, fresh_topic, 1, timeout_s=10)) == 1


def test_a_second_redrive_of_one_state_waits_its_turn(
    rocketmq: RocketMQ, mosquitto: Mosquitto, fresh_topic: str, tmp_path: Path, capsys: Output
) -> None:
    rocketmq.create_topic(f"{fresh_topic}_dead")
    dead = f"acs:mq:local:0:/instances/rmq-test/topic/{fresh_topic}_dead"
    site = Site(tmp_path, rules(mosquitto, rocketmq, fresh_topic, dead), capsys)
    other = Redriven(tmp_path / "state" / "redriven.jsonl")
    other.open()
    code, _, talk = site.dlq("redrive", "--apply")
    assert code == 2
    assert "another redrive is using it" in talk
    assert site.dlq("redrive")[0] == 0, "a dry run writes nothing"
    other.close()
    assert site.dlq("redrive", "--apply")[0] == 0
