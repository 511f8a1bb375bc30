"""Addresses of dead-letter queues: which are taken, and one fault with the reason for each that is not."""

from typing import Any

import pytest

from mqbridge.rules import DeadLetterQueue, Fault, InvalidRules, format_path, load
from tests.unit.mqbridge.support import document, outbound_rule

PLACE = "123456789012"

# (address, kind, region, account, name, whether it is FIFO)
TAKEN = [
    ("acs:mq:local:0:/instances/rmq-local/topic/dead", "rocketmq", "", "", "", False),
    (f"arn:aws:sqs:eu-west-1:{PLACE}:dead", "sqs", "eu-west-1", PLACE, "dead", False),
    (f"arn:aws:sqs:eu-west-1:{PLACE}:dead.fifo", "sqs", "eu-west-1", PLACE, "dead.fifo", True),
    (f"arn:aws-cn:sqs:cn-north-1:{PLACE}:dead", "sqs", "cn-north-1", PLACE, "dead", False),
    (f"arn:aws-us-gov:sqs:us-gov-west-1:{PLACE}:d_-9", "sqs", "us-gov-west-1", PLACE, "d_-9", False),
    (f"arn:aws:events:us-east-1:{PLACE}:event-bus/default", "event_bus", "us-east-1", PLACE, "default", False),
    (f"arn:aws-cn:events:cn-north-1:{PLACE}:event-bus/a/b.c_d-9", "event_bus", "cn-north-1", PLACE, "a/b.c_d-9", False),
]

# (what is wrong, address, code, words of the line or of its help)
FAULTY: list[tuple[str, Any, str, tuple[str, ...]]] = [
    ("a queue of SMQ", "acs:mns:cn-hangzhou:1:/queues/dlq", "MB104", ("expected acs:mq:", "arn:aws:sqs:", "event-bus/NAME", "SMQ (MNS)")),
    ("a Kafka topic", "acs:alikafka:cn-hangzhou:1:instance/i/topic/t", "MB104", ("Kafka",)),
    ("a bus of Alibaba Cloud", "acs:eventbridge:cn-hangzhou:1:eventbus/b", "MB104", ("of Alibaba Cloud", "one of AWS can")),
    ("a topic of SNS", f"arn:aws:sns:eu-west-1:{PLACE}:t", "MB104", ("SNS keeps nothing",)),
    ("a queue without region", f"arn:aws:sqs::{PLACE}:dead", "MB104", ("the region",)),
    ("a queue without account", "arn:aws:sqs:eu-west-1::dead", "MB104", ("12 digits",)),
    ("a queue's address on the web", f"https://sqs.eu-west-1.amazonaws.com/{PLACE}/dead", "MB104", ("arn:aws:sqs:",)),
    ("a queue of another partition", f"arn:aws-iso:sqs:us-iso-east-1:{PLACE}:dead", "MB104", ()),
    ("a queue with a name too long", f"arn:aws:sqs:eu-west-1:{PLACE}:{'q' * 81}", "MB104", ()),
    ("a FIFO queue with a name too long", f"arn:aws:sqs:eu-west-1:{PLACE}:{'q' * 76}.fifo", "MB104", ()),
    ("a rule of a bus", f"arn:aws:events:eu-west-1:{PLACE}:rule/r", "MB104", ("as AWS shows them",)),
    ("a bus without name", f"arn:aws:events:eu-west-1:{PLACE}:event-bus/", "MB104", ()),
    ("a line break at the end", f"arn:aws:sqs:eu-west-1:{PLACE}:dead\n", "MB104", ()),
    ("a number", 7, "MB104", ("got 7",)),
    ("an unknown instance", "acs:mq:local:0:/instances/rmq-9/topic/dead", "MB211", ("rmq-local", "'rmq-9'")),
    ("a system topic's instance", "acs:mq:local:0:/instances//topic/dead", "MB104", ()),
]  # fmt: skip


def rules_of(arn: Any, **limits: Any) -> dict[str, Any]:
    whole = document(OutboundRules=[outbound_rule(RunOptions={"DeadLetterQueue": {"Arn": arn}})])
    whole["Instances"]["RocketMQ"][0].update(limits)
    return whole


@pytest.mark.parametrize(("arn", "kind", "region", "account", "name", "is_fifo"), TAKEN)
def test_an_address_is_taken_and_read(arn: str, kind: str, region: str, account: str, name: str, is_fifo: bool) -> None:
    (rule,) = load(rules_of(arn)).outbound
    queue = rule.run_options.dead_letter_queue
    assert queue is not None
    assert (queue.kind, queue.region, queue.account, queue.name, queue.is_fifo) == (
        kind, region, account, name, is_fifo,
    )  # fmt: skip
    assert queue.instance_and_topic == (("rmq-local", "dead") if kind == "rocketmq" else ("", ""))


@pytest.mark.parametrize(("arn", "code", "words"), [row[1:] for row in FAULTY], ids=[row[0] for row in FAULTY])
def test_an_address_that_cannot_be_is_one_fault_that_says_why(arn: Any, code: str, words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRules) as raised:
        load(rules_of(arn))
    (fault,) = raised.value.faults
    assert (fault.code, format_path(fault.path)) == (code, "OutboundRules[0].RunOptions.DeadLetterQueue.Arn")
    said = f"{fault.text('rules.yaml')} {fault.help}"
    assert "\n" not in said
    for word in words:
        assert word in said


def test_a_topic_that_the_instance_does_not_list_is_a_fault_and_a_queue_of_aws_is_none() -> None:
    with pytest.raises(InvalidRules) as raised:
        load(rules_of("acs:mq:local:0:/instances/rmq-local/topic/dead", Topics=["telemetry"]))
    assert [fault.code for fault in raised.value.faults] == ["MB208"]
    load(rules_of(f"arn:aws:sqs:eu-west-1:{PLACE}:dead", Topics=["telemetry"]))


def test_every_way_to_say_no_is_in_the_table() -> None:
    """So that no reason is written that no address leads to."""
    from mqbridge.rules.queue_address import _WHY_NOT

    faults: list[Fault] = []
    for _, arn, _, _ in FAULTY:
        with pytest.raises(InvalidRules) as raised:
            load(rules_of(arn))
        faults += raised.value.faults
    assert {why for _, why in _WHY_NOT} <= {fault.help for fault in faults}


def test_queues_are_told_apart_by_their_addresses() -> None:
    one, other = (DeadLetterQueue(arn=f"arn:aws:sqs:eu-west-1:{PLACE}:{name}") for name in ("a", "b"))
    assert len({one, other, DeadLetterQueue(arn=one.arn)}) == 2
