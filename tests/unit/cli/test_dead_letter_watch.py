"""The watch over dead-letter queues: what cannot be read is absent, said once, and holds up no other."""

import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from devstack.processes import wait_until
from mqbridge.rules import DeadLetterQueue, Rules, load
from mqbridge.telemetry import Counters
from mqbridge_cli.dlq.depths import Depth, QueueDepth, depth_readers
from mqbridge_cli.dlq.stores import StoreError
from mqbridge_cli.runner import dead_letter_watch
from mqbridge_cli.runner.dead_letter_watch import DeadLetterWatch
from mqbridge_cli.runner.fleet import Fleet
from mqbridge_cli.runner.holds import StateDirectory
from mqbridge_cli.runner.metrics import registry_of
from tests.unit.mqbridge.support import captured_lines, document, inbound_rule, outbound_rule

ARN = "arn:aws:sqs:eu-west-1:123456789012:dead"
Told = Depth | Exception | None


class Reader:
    """Says what it is told to, and counts how often it was asked."""

    def __init__(self, queue: str, told: Told) -> None:
        self.queue = queue
        self.told = told
        self.asked = 0
        self.is_closed = False

    def read(self) -> Depth | None:
        self.asked += 1
        if isinstance(self.told, Exception):
            raise self.told
        return self.told

    def close(self) -> None:
        self.is_closed = True


class Watched:
    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.rules = load(document())
        self.readers: dict[int, list[Reader]] = {}  # by document
        patch.setattr(dead_letter_watch, "depth_readers", lambda rules: self.readers[id(rules)])
        self.watch = DeadLetterWatch(lambda: self.rules, every_s=0.01)

    def begin(self, *readers: Reader) -> None:
        self.readers[id(self.rules)] = list(readers)
        self.watch.start()

    def wait_for(self, *readers: Reader) -> None:
        """Wait until each was asked twice more: then what it said the first time is known."""
        wanted = {id(reader): reader.asked + 2 for reader in readers}
        assert wait_until(lambda: all(reader.asked >= wanted[id(reader)] for reader in readers), timeout_s=5)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    made = Watched(monkeypatch)
    yield made
    made.watch.stop()


def test_depths_are_those_of_the_last_look(watched: Watched) -> None:
    one, other = Reader("a", Depth(3, 1_000)), Reader("b", Depth(0))
    watched.begin(one, other)
    watched.wait_for(one, other)
    assert watched.watch.depths == {"a": Depth(3, 1_000), "b": Depth(0)}
    one.told = Depth(4, 1_000)
    watched.wait_for(one)
    assert watched.watch.depths["a"] == Depth(4, 1_000)


@pytest.mark.parametrize("error", [StoreError("a: away"), RuntimeError("a defect")])
def test_what_cannot_be_read_is_absent_said_once_and_holds_up_no_other(watched: Watched, error: Exception) -> None:
    one, other = Reader("a", Depth(3)), Reader("b", Depth(7))
    with captured_lines() as lines:
        watched.begin(one, other)
        watched.wait_for(one, other)
        one.told = error
        watched.wait_for(one, other)
        watched.wait_for(one, other)
        assert watched.watch.depths == {"b": Depth(7)}
        one.told = Depth(5)
        watched.wait_for(one, other)
        assert watched.watch.depths == {"a": Depth(5), "b": Depth(7)}
    assert [(line.levelname, vars(line)["queue"], vars(line)["detail"]) for line in lines.records] == [
        ("WARNING", "a", str(error))
    ]


def test_a_queue_that_is_not_there_yet_is_absent_without_a_word(watched: Watched) -> None:
    one = Reader("a", None)
    with captured_lines() as lines:
        watched.begin(one)
        watched.wait_for(one)
    assert watched.watch.depths == {}
    assert lines.records == []


def test_another_document_has_other_queues(watched: Watched) -> None:
    gone, kept, fresh = Reader("a", Depth(1)), Reader("b", Depth(2)), Reader("b", None)
    watched.begin(gone, kept)
    watched.wait_for(gone, kept)
    other = load(document(OutboundRules=[outbound_rule()]))
    watched.readers[id(other)] = [fresh]
    watched.rules = other
    watched.wait_for(fresh)
    assert watched.watch.depths == {}
    assert gone.is_closed
    assert kept.is_closed


def test_it_ends_and_closes_what_it_has_open(watched: Watched) -> None:
    one = Reader("a", Depth(1))
    watched.begin(one)
    watched.wait_for(one)
    watched.watch.stop()
    assert one.is_closed
    assert not any(thread.name == "dead-letters" for thread in threading.enumerate())


def test_it_need_not_have_begun_to_end() -> None:
    rules = load(document())
    DeadLetterWatch(lambda: rules).stop()


def queues(rules: Rules) -> list[str]:
    return [reader.queue for reader in depth_readers(rules)]


def test_the_queues_are_those_that_rules_name_and_the_groups_own() -> None:
    topic = "acs:mq:local:0:/instances/rmq-local/topic/dead"
    bus = "arn:aws:events:eu-west-1:123456789012:event-bus/dead"
    arns: list[dict[str, Any]] = [{"DeadLetterQueue": {"Arn": arn}} for arn in (topic, ARN, bus, topic)]
    outbound = [outbound_rule(f"rule-{at}", f"parent-{at}", RunOptions=options) for at, options in enumerate(arns)]
    inbound = [inbound_rule("into"), inbound_rule("apart", "t", "other")]
    inbound[1]["Source"]["GroupId"] = "GID_own"
    rules = load(document(OutboundRules=outbound, InboundRules=inbound))
    assert queues(rules) == [
        topic,
        ARN,
        "acs:mq::0:/instances/rmq-local/topic/%DLQ%GID_mqbridge_into",
        "acs:mq::0:/instances/rmq-local/topic/%DLQ%GID_own",
    ]


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield boto3.client("sqs", region_name="eu-west-1")


def test_an_sqs_queue_tells_its_number_and_no_age(sqs: Any) -> None:
    reader = QueueDepth(DeadLetterQueue(arn=ARN))
    with pytest.raises(StoreError, match=f"{ARN}: AWS answered .*NonExistentQueue"):
        reader.read()
    url = sqs.create_queue(QueueName="dead")["QueueUrl"]
    assert reader.read() == Depth(0)
    for _ in range(3):
        sqs.send_message(QueueUrl=url, MessageBody="{}")
    assert reader.read() == Depth(3)
    reader.close()
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    assert answer["Attributes"]["ApproximateNumberOfMessages"] == "3", "they are still there for others"


def test_a_number_without_an_age_is_shown_without(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000.0)
    fleet = Fleet(load(document()), Counters(), StateDirectory(tmp_path, "rules.yaml"))
    depths = {"a": Depth(3, 940_000), "b": Depth(0), "c": Depth(1, 2_000_000)}
    shown = {
        (sample.name, sample.labels["queue"]): sample.value
        for family in registry_of(fleet, Counters(), lambda: depths).collect()
        for sample in family.samples
        if sample.name.startswith("mqbridge_dead_letter")
    }
    assert shown == {
        ("mqbridge_dead_letters", "a"): 3,
        ("mqbridge_dead_letter_oldest_age_seconds", "a"): 60,
        ("mqbridge_dead_letters", "b"): 0,
        ("mqbridge_dead_letters", "c"): 1,
        ("mqbridge_dead_letter_oldest_age_seconds", "c"): 0,
    }
