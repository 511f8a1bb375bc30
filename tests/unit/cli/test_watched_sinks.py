"""What a send tells of the connection to an instance, and the gauge that is made of it."""

from pathlib import Path
from typing import Any

import pytest

from mqbridge.delivery import Sent
from mqbridge.outcomes import Answer, Delivered, Failed, Reject
from mqbridge.rules import load
from mqbridge.telemetry import Counters
from mqbridge_cli.runner.fleet import Fleet
from mqbridge_cli.runner.holds import StateDirectory
from mqbridge_cli.runner.metrics import registry_of
from mqbridge_cli.runner.rule_life import RuleLife
from mqbridge_cli.runner.state import State
from mqbridge_cli.runner.watched_sinks import ANSWERED, NO_ANSWER, WatchedSinks, was_answered
from rocketmq_remoting import RocketMQError
from tests.unit.mqbridge.support import FakeSinks, document, inbound_rule, outbound_rule, publish

MQTT, ROCKETMQ = "mqtt:mqtt-local", "rocketmq:rmq-local"
AWAY = Failed("connect_failed", "refused")
BUSY = Failed("broker_busy", "code 2", answer=Answer(2, "broker-a", 0))


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ([Delivered()], True),
        ([AWAY, Delivered()], True),  # of a cluster's brokers one is there
        ([BUSY], True),
        ([Reject("broker_forbids", answer=Answer(0x87))], True),
        ([Failed("broker_refused", "iot-data: 500")], True),
        ([AWAY], False),
        ([Failed("connect_failed", "refused", answer=Answer(0x88))], False),  # it answered CONNECT, and is not there
        ([Failed("cannot_connect", "no such secret")], False),
        ([Failed("connection_lost")], False),
        ([Failed("outcome_unknown", is_unknown=True, answer=Answer(None, "broker-a", 0))], False),
        ([Failed("outcome_unknown", is_unknown=True), Failed("held_back")], False),
        ([Reject("illegal_message")], None),  # nothing was sent
        ([Failed("route_not_found")], None),  # the name server is another
        ([Failed("held_back")], None),
        ([], None),
    ],
)
def test_what_a_call_tells(sent: list[Sent], told: bool | None) -> None:
    assert was_answered(sent) is told


def test_every_error_of_the_client_is_known() -> None:
    """A new one must be put on one side, or among those that tell nothing."""
    silent = {"held_back", "illegal_message", "rocketmq_error", "route_not_found"}
    assert {each.name for each in _all(RocketMQError)} <= ANSWERED | NO_ANSWER | silent
    assert ANSWERED.isdisjoint(NO_ANSWER)


def _all(of: type[RocketMQError]) -> list[type[RocketMQError]]:
    return [of, *(each for sub in of.__subclasses__() for each in _all(sub))]


class _Made:
    """A fleet of two rules, whose sinks answer as told; and the gauge."""

    def __init__(self, directory: Path, **rules: Any) -> None:
        self.counters = Counters()
        self.fleet = Fleet(load(document(**rules)), self.counters, StateDirectory(directory, "rules.yaml"))
        self.one, self.other = self.fleet.lives
        self.answer: Sent = Delivered()
        for life in self.fleet.lives:
            self._watched(life)._sinks = FakeSinks(lambda _message: self.answer)

    @staticmethod
    def _watched(life: RuleLife) -> WatchedSinks:
        assert life._runner is not None
        assert life._runner._watched is not None
        return life._runner._watched

    def send(self, life: RuleLife, answer: Sent) -> None:
        self.answer = answer
        kind, _, instance_id = {"outbound": ROCKETMQ, "inbound": MQTT}[life.flow].partition(":")
        self._watched(life).send(kind, instance_id, [publish()], 1.0)

    def connected(self) -> dict[str, float]:
        """Return the gauge by instance."""
        return {
            sample.labels["broker"]: sample.value
            for family in registry_of(self.fleet, self.counters, dict).collect()
            for sample in family.samples
            if sample.name == "mqbridge_broker_connected"
        }


@pytest.fixture
def made(tmp_path: Path) -> _Made:
    """One outbound and one inbound rule: either instance is read from, and sent to."""
    return _Made(tmp_path, OutboundRules=[outbound_rule()], InboundRules=[inbound_rule(parent="other")])


def test_what_is_read_from_and_sent_to_is_connected_if_both_work(made: _Made) -> None:
    assert made.connected() == {MQTT: 0, ROCKETMQ: 0}
    for life in made.fleet.lives:
        life.state.change(State.RUNNING)
    assert made.connected() == {MQTT: 1, ROCKETMQ: 1}, "as long as nothing was sent, the sources tell"
    made.send(made.one, AWAY)
    assert made.connected() == {MQTT: 1, ROCKETMQ: 0}
    made.send(made.one, Failed("held_back"))
    assert made.connected() == {MQTT: 1, ROCKETMQ: 0}, "that tells nothing"
    made.send(made.one, BUSY)
    assert made.connected() == {MQTT: 1, ROCKETMQ: 1}
    made.other.state.change(State.RECONNECTING)
    assert made.connected() == {MQTT: 1, ROCKETMQ: 0}


def test_of_several_rules_that_send_to_it_the_last_tells(tmp_path: Path) -> None:
    made = _Made(tmp_path, OutboundRules=[outbound_rule("one", "devices"), outbound_rule("other", "meters")])
    assert ROCKETMQ not in made.connected(), "nobody knows yet"
    for life, answer in ((made.one, AWAY), (made.other, Delivered()), (made.one, AWAY), (made.one, Delivered())):
        made.send(life, answer)
        assert made.connected()[ROCKETMQ] == (answer == Delivered())


def test_a_rule_that_ended_tells_nothing(made: _Made) -> None:
    for life in made.fleet.lives:
        life.state.change(State.RUNNING)
    made.send(made.one, AWAY)
    made.one._runner = None
    assert made.connected()[ROCKETMQ] == 1
