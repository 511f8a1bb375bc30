"""Pull mode with a scripted RocketMQ and captured sinks: what is committed, tried again, given up, and left for the next time."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from functions.inbound.app import handler as inbound
from functions.outbound.app import handler as outbound
from mqbridge.delivery import Outgoing, Sent
from mqbridge.handler import Bridge, using
from mqbridge.inbound_source import InboundSource
from mqbridge.messages import MqttMessage, RocketMQMessage
from mqbridge.outcomes import Delivered, Failed, Reject
from mqbridge.pulling.memory import QueueMemory
from mqbridge.rules import load
from mqbridge.telemetry import Counters
from mqbridge.triggers import Undelivered, UnreadableEvent
from rocketmq_remoting import StoredMessage
from tests.unit.mqbridge.support import EVENTS, FakeSinks, inbound_rule
from tests.unit.rocketmq_remoting.scripted_broker import Answer, ScriptedCluster
from tests.unit.rocketmq_remoting.scripted_group import LOCK, PULL, SEND_BACK, ScriptedGroup

GROUP = "GID_mqbridge_commands"
EVENT = {"mqbridge": "pull"}
BUSY = Answer(code=2, remark="busy")


class Context:
    """What Lambda passes."""

    def __init__(self, left_s: float = 30.0) -> None:
        self._end = time.monotonic() + left_s

    def get_remaining_time_in_millis(self) -> int:
        return int((self._end - time.monotonic()) * 1000)


@pytest.fixture
def cluster() -> Iterator[ScriptedCluster]:
    """One broker with the topic "commands" of two queues."""
    with ScriptedCluster("a", topics={"commands": 2, "more": 2}) as scripted:
        yield scripted


@pytest.fixture
def group(cluster: ScriptedCluster) -> ScriptedGroup:
    return ScriptedGroup(cluster.brokers["a"], GROUP)


class World:
    """An execution environment: its rules, and sinks that do as a test says."""

    def __init__(self, cluster: ScriptedCluster, *rules: Mapping[str, Any], **more: Any) -> None:
        instances = {
            "Mqtt": [{"InstanceId": "mqtt-local", "Endpoint": "mqtt://127.0.0.1:1883"}],
            "RocketMQ": [{"InstanceId": "rmq-local", "NameServers": [cluster.name_server.address]}],
        }
        self._document = load({"Instances": instances, "InboundRules": [*rules], **more})
        self.failing: Callable[[bytes], Sent | None] = lambda _body: None
        self.sent: list[bytes] = []
        self.counters = Counters()
        self.sinks = FakeSinks(self._answer)
        self.restart()

    def restart(self) -> None:
        """Forget everything, as a new environment."""
        self.bridge = Bridge(self._document, self.sinks, self.counters)

    def pull(self, left_s: float = 30.0) -> dict[str, int]:
        with using(self.bridge):
            summary: dict[str, int] = inbound(EVENT, Context(left_s))
        return summary

    def pull_in_vain(self, match: str = "failed", clock: "Clock | None" = None) -> None:
        """Pull, and wait until the next is due."""
        with pytest.raises(Undelivered, match=match):
            self.pull()
        if clock is not None:
            clock.ahead_s += 60

    def _answer(self, message: Outgoing) -> Sent:
        body = message.payload if isinstance(message, MqttMessage) else message.body
        outcome = self.failing(body) or Delivered()
        if isinstance(outcome, Delivered) and isinstance(message, MqttMessage):
            self.sent.append(body)
        return outcome

    @property
    def dead(self) -> list[RocketMQMessage]:
        return [each for each in self.sinks.messages if isinstance(each, RocketMQMessage)]


def command_rule(**more: Any) -> dict[str, Any]:
    rule = inbound_rule(**more)
    rule["Source"]["StartFrom"] = "FIRST"
    return rule


def retries(attempts: int, **more: Any) -> dict[str, Any]:
    return {"RetryStrategy": {"PushRetryStrategy": "BACKOFF_RETRY", "MaximumRetryAttempts": attempts}, **more}


DLQ = {"DeadLetterQueue": {"Arn": "acs:mq:local:0:/instances/rmq-local/topic/mqbridge_dlq"}}


class Clock:
    """What pulling takes for the module `time`: real, but it can be set forward."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def time(self) -> float:
        return time.time() + self.ahead_s


class Moment(Clock):
    """The same for locks, which must not outlive a standing clock."""

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("mqbridge.pulling.rule_pull.time", made)
    return made


def down(_body: bytes) -> Sent:
    return Failed("connect_failed", "nobody there")


def test_everything_is_delivered_committed_and_counted(cluster: ScriptedCluster, group: ScriptedGroup) -> None:
    for at in range(100):
        group.add(str(at), topic="commands", queue=at % 2, properties={"mqttSecondTopic": "/d1"})
    world = World(cluster, command_rule())
    summary = world.pull()
    assert summary == {
        "pulled": 100,
        "delivered": 100,
        "dropped": 0,
        "dead_lettered": 0,
        "discarded": 0,
        "refused": 0,
        "failed": 0,
        "left": 0,
        "rules": 1,
        "rules_consumed": 0,
        "rules_unread": 0,
        "queues_taken": 0,
        "queues_waiting": 0,
    }
    assert sorted(map(int, world.sent)) == list(range(100))
    assert group.committed == {("commands", 0): 50, ("commands", 1): 50}
    values = world.counters.snapshot()
    assert values["mqbridge_events_received_total", (("function", "inbound"), ("trigger", "pull"))] == 100
    delivered = (("flow", "inbound"), ("rule", "commands"), ("outcome", "delivered"))
    assert values["mqbridge_records_total", delivered] == 100


@pytest.mark.parametrize("name", ["schedule-eventbridge.json", "schedule-pull.json"])
def test_schedules_ask_for_a_pull(cluster: ScriptedCluster, group: ScriptedGroup, name: str) -> None:
    group.add("on", topic="commands")
    world = World(cluster, command_rule())
    for event in ((EVENTS / name).read_text(), (EVENTS / name).read_bytes()):
        with using(world.bridge):
            inbound(event, Context())
    assert world.sent == [b"on"]


def test_no_other_function_pulls(cluster: ScriptedCluster) -> None:
    with using(World(cluster, command_rule()).bridge), pytest.raises(UnreadableEvent, match="inbound function"):
        outbound(EVENT, Context())


def test_disabled_rules_are_not_pulled(cluster: ScriptedCluster, group: ScriptedGroup) -> None:
    group.add("on", topic="commands")
    summary = World(cluster, command_rule(Status="Disabled")).pull()
    assert (summary["rules"], summary["pulled"]) == (0, 0)
    assert not group.broker.of(LOCK, PULL)


def test_rules_take_turns_so_that_none_starves(cluster: ScriptedCluster) -> None:
    """A long topic and a short one, one message a step: the short one is read before the long one is through."""
    broker = cluster.brokers["a"]
    group = ScriptedGroup(broker, GROUP)
    for at in range(70):
        group.add(f"long-{at}", topic="commands")
    group.add("short", topic="more")
    world = World(cluster, command_rule(), command_rule(rule_id="second", topic="more", parent="others"))
    world.pull()
    assert len(world.sent) == 71
    assert world.sent.index(b"short") == 32


# Failures.


def test_what_failed_is_not_committed_and_goes_with_the_next_pull(
    cluster: ScriptedCluster, group: ScriptedGroup, clock: Clock
) -> None:
    for at in range(40):
        group.add(str(at), topic="commands")
    world = World(cluster, command_rule())
    world.failing = down
    world.pull_in_vain("32 of 32 messages failed; commands: connect_failed: nobody there", clock)
    assert group.committed["commands", 0] == 0
    world.failing = lambda _body: None
    summary = world.pull()
    assert (summary["delivered"], summary["left"]) == (40, 0)
    assert world.sent == [str(at).encode() for at in range(40)]
    assert group.committed["commands", 0] == 40


def test_nothing_of_a_queue_overtakes_what_failed_and_other_queues_go_on(
    cluster: ScriptedCluster, group: ScriptedGroup, clock: Clock
) -> None:
    for at in range(40):
        group.add(f"a-{at}", topic="commands", queue=0)
        group.add(f"b-{at}", topic="commands", queue=1)
    world = World(cluster, command_rule())
    world.failing = lambda body: down(body) if body.startswith(b"a-") else None
    world.pull_in_vain(clock=clock)
    world.pull_in_vain(clock=clock)
    assert world.sent == [f"b-{at}".encode() for at in range(40)]
    assert group.committed == {("commands", 0): 0, ("commands", 1): 40}


def test_what_went_behind_the_first_that_failed_is_not_sent_again(
    cluster: ScriptedCluster, group: ScriptedGroup, clock: Clock
) -> None:
    """RocketMQ keeps one offset a queue; a warm environment knows more."""
    for at in range(10):
        group.add(str(at), topic="commands")
    world = World(cluster, command_rule())
    world.failing = lambda body: down(body) if body == b"3" else None
    world.pull_in_vain(clock=clock)
    assert group.committed["commands", 0] == 3
    world.failing = lambda _body: None
    assert world.pull()["pulled"] == 1
    assert sorted(world.sent) == sorted(str(at).encode() for at in range(10))
    assert group.committed["commands", 0] == 10


def test_a_new_environment_sends_it_again_rather_than_lose_it(
    cluster: ScriptedCluster, group: ScriptedGroup, clock: Clock
) -> None:
    for at in range(10):
        group.add(str(at), topic="commands")
    world = World(cluster, command_rule())
    world.failing = lambda body: down(body) if body == b"3" else None
    world.pull_in_vain(clock=clock)
    world.failing = lambda _body: None
    world.restart()
    assert world.pull()["delivered"] == 7


def test_offsets_that_somebody_moved_back_are_believed(
    cluster: ScriptedCluster, group: ScriptedGroup, clock: Clock
) -> None:
    """An operator who wants messages again is not told that they went already."""
    for at in range(10):
        group.add(str(at), topic="commands")
    world = World(cluster, command_rule())
    world.failing = lambda body: down(body) if body == b"3" else None
    world.pull_in_vain(clock=clock)
    world.failing = lambda _body: None
    group.committed["commands", 0] = 0
    assert world.pull()["delivered"] == 10


def test_a_queue_waits_for_the_time_of_its_retry(cluster: ScriptedCluster, group: ScriptedGroup) -> None:
    group.add("0", topic="commands", queue=0)
    group.add("1", topic="commands", queue=1)
    world = World(cluster, command_rule(RunOptions=retries(3)))  # each after 10 to 20 s
    world.failing = lambda body: down(body) if body == b"0" else None
    world.pull_in_vain()
    world.failing = lambda _body: None
    summary = world.pull()
    assert (summary["queues_waiting"], summary["pulled"]) == (1, 0)


def test_after_its_last_retry_a_message_is_dead_lettered_and_the_queue_goes_on(
    cluster: ScriptedCluster, group: ScriptedGroup, clock: Clock
) -> None:
    for at in range(5):
        group.add(str(at), topic="commands")
    world = World(cluster, command_rule(RunOptions=retries(2, **DLQ)))
    world.failing = lambda body: down(body) if body == b"2" else None
    world.pull_in_vain(clock=clock)
    world.pull_in_vain(clock=clock)
    summary = world.pull()
    assert (summary["dead_lettered"], summary["left"]) == (1, 0)
    (letter,) = world.dead
    assert '"attempts":3' in letter.properties["mqbridge-dead-letter"].replace(" ", "")
    assert world.sent == [b"0", b"1", b"3", b"4"]
    assert group.committed["commands", 0] == 5


def test_one_message_that_breaks_the_others_is_found_and_they_are_not_given_up_with_it(
    cluster: ScriptedCluster, group: ScriptedGroup, clock: Clock
) -> None:
    """A broker that ends the connection does not say for which message: everything behind it fails too."""
    for at in range(6):
        group.add(str(at), topic="commands")
    world = World(cluster, command_rule(RunOptions=retries(3, **DLQ)))

    def breaks(body: bytes) -> Sent | None:
        poison_goes_too = any(
            isinstance(each, MqttMessage) and each.payload == b"1" for each in world.sinks.calls[-1].messages
        )
        return down(body) if poison_goes_too and body >= b"1" else None

    world.failing = breaks
    for _ in range(3):
        world.pull_in_vain(clock=clock)
    summary = world.pull()
    assert (summary["dead_lettered"], summary["left"]) == (1, 0)
    assert world.sent == [b"0", b"2", b"3", b"4", b"5"]


def test_what_can_never_be_delivered_goes_to_the_group_s_dead_letters(
    cluster: ScriptedCluster, group: ScriptedGroup
) -> None:
    group.add("good", topic="commands")
    group.add("bad", topic="commands", properties={"qoslevel": "9"})
    group.add("unreadable", topic="commands", properties=b"\xff\xfe")
    group.add("good too", topic="commands")
    world = World(cluster, command_rule())
    summary = world.pull()
    assert (summary["delivered"], summary["refused"]) == (2, 2)
    sent_back = [request.fields for request in group.broker.of(SEND_BACK)]
    assert [(each["offset"], each["delayLevel"]) for each in sent_back] == [("1001", "-1"), ("1002", "-1")]
    assert group.committed["commands", 0] == 4


@pytest.mark.parametrize("kind", ["rejected", "unreadable"])
def test_what_the_dead_letters_do_not_take_stays_where_it_is(
    cluster: ScriptedCluster, group: ScriptedGroup, kind: str
) -> None:
    group.add("good", topic="commands")
    group.add("bad", topic="commands", properties=b"\xff\xfe" if kind == "unreadable" else {"qoslevel": "9"})
    cluster.brokers["a"].on(SEND_BACK, BUSY)
    world = World(cluster, command_rule())
    world.pull_in_vain("commands: broker answered code 2: busy")
    assert group.committed["commands", 0] == 1


def test_a_sink_s_reject_is_final(cluster: ScriptedCluster, group: ScriptedGroup) -> None:
    group.add("on", topic="commands")
    world = World(cluster, command_rule(RunOptions=DLQ))
    world.failing = lambda body: Reject("broker_forbids", "no") if body == b"on" else None
    assert world.pull()["dead_lettered"] == 1


def test_rules_that_cannot_be_read_are_told_and_the_others_go_on(
    cluster: ScriptedCluster, group: ScriptedGroup
) -> None:
    group.add("on", topic="commands")
    world = World(cluster, command_rule(rule_id="missing", topic="no_such", parent="others"), command_rule())
    world.pull_in_vain("missing: topic 'no_such' does not exist")
    assert world.sent == [b"on"]
    assert group.committed["commands", 0] == 1


def test_an_instance_that_cannot_be_reached_is_told_with_its_reason(cluster: ScriptedCluster) -> None:
    world = World(cluster, command_rule())
    instance = replace(
        world.bridge.rules.rocketmq["rmq-local"], access_key="env:NO_SUCH_KEY", secret_key="env:NO_SUCH_KEY"
    )
    world.bridge = Bridge(replace(world.bridge.rules, rocketmq={"rmq-local": instance}), world.sinks, world.counters)
    world.pull_in_vain("commands: env:NO_SUCH_KEY")


def test_a_defect_at_a_rule_is_told_as_its_own(
    cluster: ScriptedCluster, group: ScriptedGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(source: InboundSource, message: StoredMessage) -> dict[str, Any]:
        raise ZeroDivisionError(source, message)

    group.add("on", topic="commands")
    monkeypatch.setattr(InboundSource, "event", breaks)
    world = World(cluster, command_rule())
    world.pull_in_vain("commands: ZeroDivisionError")
    assert group.committed.get(("commands", 0), 0) == 0


def test_a_topic_that_was_made_anew_has_its_messages_sent() -> None:
    """Its offsets are those of the old one; what was settled behind a failure there is not what stands there now."""
    memory = QueueMemory()
    memory.begin(0)
    memory.settle(1, "old")
    memory.end(0)
    memory.begin(0)
    assert memory.is_settled(1, "old")
    assert not memory.is_settled(1, "new")


# Time.


def test_what_another_pull_has_taken_meanwhile_is_not_handed_on(
    cluster: ScriptedCluster, group: ScriptedGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sending took a minute, and the broker gave the queue away: what was read of it already is the other's."""
    for at in range(32):
        group.add(str(at), topic="commands")
    world = World(cluster, command_rule(RunOptions={"BatchWindow": {"CountBasedWindow": 10}}))
    moment = Moment()
    monkeypatch.setattr("rocketmq_remoting.drain.time", moment)

    def slow(body: bytes) -> None:
        if body == b"9":
            moment.ahead_s = 70
            group.locks["commands", 0] = "another"

    world.failing = slow
    summary = world.pull()
    assert (summary["delivered"], summary["queues_taken"]) == (10, 1)
    assert group.committed["commands", 0] == 10  # before it was known


def test_without_time_nothing_is_read(cluster: ScriptedCluster, group: ScriptedGroup) -> None:
    group.add("on", topic="commands")
    world = World(cluster, command_rule())
    with pytest.raises(Undelivered, match="no time to read anything"):
        world.pull(left_s=3.0)
    assert not group.broker.of(LOCK, PULL)


def test_what_there_was_no_time_for_comes_first_the_next_time(cluster: ScriptedCluster) -> None:
    group = ScriptedGroup(cluster.brokers["a"], GROUP)
    group.add("first", topic="commands")
    group.add("second", topic="more")
    world = World(cluster, command_rule(), command_rule(rule_id="second", topic="more", parent="others"))

    def slow(_body: bytes) -> None:
        time.sleep(0.4)

    world.failing = slow
    summary = world.pull(left_s=4.3)
    assert (summary["delivered"], summary["rules_unread"]) == (1, 1)
    world.pull()
    assert world.sent == [b"first", b"second"]
