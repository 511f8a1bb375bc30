"""From SQS to RocketMQ without AWS: template.yaml's queues at moto, its built functions behind event source mappings, and a real RocketMQ.

One story, most of a minute long because the broker is away for 20 s; the tests look at what is left in the end. All numbers are
the template's, but for VisibilityTimeout, which is 15 s and not 190. A queue beside each, from which what is unreadable is left to the
platform, gives up after 3 times 6 s instead of 200 times 190 s. A FIFO queue is not in the template; it is like the queue outbound.
"""

import base64
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest

from devstack.javatool import StoredMessage, consume
from devstack.lambda_service import (
    DeclaredQueue,
    EventSourceMapping,
    HostBuild,
    MadeQueue,
    make_queues,
)
from devstack.processes import wait_until
from devstack.rocketmq import RocketMQ
from functions.outbound.app import handler as outbound
from functions.outflow.app import handler as outflow
from mqbridge.testing import capture
from tests.identity import Values
from tests.integration.aws_server import ACCOUNT, REGION, Aws, pretended
from tests.platform.accounted import AccountedService

# The story takes 50 s, and counts as the first test's.
pytestmark = pytest.mark.timeout(300)
OUTAGE_S = 20.0
# Instead of the template's 190 s: what AWS cannot hide in time would hold up the test for so long.
VISIBILITY_TIMEOUT_S = 15
LEFT_TO_SQS = {"visibility_timeout_s": 6, "max_receive_count": 3}
DEAD_LETTERS = f"arn:aws:sqs:{REGION}:{ACCOUNT}:mqbridge-dead-letters"
FLOWS = {"Outbound": outbound, "Outflow": outflow}
TOPIC = {"Outbound": "telemetry", "Outflow": "readings"}


def rules_for(rocketmq: RocketMQ) -> dict[str, Any]:
    """Return rules with dead letters of their own. What is unreadable is no rule's, so nobody but SQS keeps it."""
    queue = {"DeadLetterQueue": {"Arn": DEAD_LETTERS}}
    return {
        "Instances": {
            "Mqtt": [{"InstanceId": "iot", "Endpoint": "mqtts://iot.example.com:8883"}],
            "RocketMQ": [{"InstanceId": "rmq", "NameServers": [rocketmq.name_server]}],
        },
        "OutboundRules": [
            {
                "RuleId": "telemetry",
                "Source": {"Topic": "devices"},
                "Destination": {"Topic": "telemetry"},
                "RunOptions": queue,
            },
            {"RuleId": "late", "Source": {"Topic": "late"}, "Destination": {"Topic": "late"}},
        ],
        "EventStreamings": [
            {
                "EventStreamingName": "readings",
                "Source": {"SourceMQTTParameters": {"Topic": "devices", "BodyDataType": "JSON"}},
                "Sink": {
                    "SinkRocketMQParameters": {
                        "Topic": {"Form": "CONSTANT", "Value": "readings"},
                        "Body": {"Form": "JSONPATH", "Value": "$.data.body"},
                    }
                },
                "RunOptions": {"RetryStrategy": {"PushRetryStrategy": "EXPONENTIAL_DECAY_RETRY"}, **queue},
            }
        ],
    }


def published(payload: str, topic: str = "devices/d1/up", client_id: str = "d1") -> str:
    """Return what AWS IoT's rule writes to a queue of what a device publishes."""
    columns = {
        "payload_b64": base64.b64encode(payload.encode()).decode(),
        "topic": topic,
        "client_id": client_id,
        "ts_ms": int(time.time() * 1000),
        "trace_id": str(uuid.uuid4()),
    }
    return json.dumps(columns)


UNREADABLE = "neither JSON nor Base64"
# What no RocketMQ message can hold, and what is no JSON where a task expects it.
POISON = {"Outbound": published('{"n": 0}', topic="devices/\u0001"), "Outflow": published("{not JSON")}


class World:
    """The queues, and what was sent to which."""

    def __init__(self, aws: Aws, queues: Mapping[str, MadeQueue], rocketmq: RocketMQ) -> None:
        self.aws = aws
        self.queues = queues
        self.rocketmq = rocketmq
        self.sent: dict[str, list[str]] = {}
        self._number = 0

    def send(self, queue: str, *bodies: str, group: str = "") -> None:
        """Send up to ten messages."""
        fifo: Any = {"MessageGroupId": group} if group else {}
        entries: list[Any] = [{"Id": str(at), "MessageBody": body, **fifo} for at, body in enumerate(bodies)]
        answer = self.aws.sqs.send_message_batch(QueueUrl=self.queues[queue].url, Entries=entries)
        assert not answer.get("Failed")
        self.sent.setdefault(queue, []).extend(bodies)

    def publish(self, queue: str, count: int) -> list[str]:
        """Have devices publish good messages, and return them."""
        numbers = range(self._number, self._number + count)
        self._number += count
        bodies = [published(json.dumps({"n": n}), client_id=f"d{n % 7}") for n in numbers]
        self.send(queue, *bodies)
        return bodies

    def left(self, queue: str) -> int:
        names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        url = self.queues[queue].url
        said = self.aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(value) for value in said.values())

    def wait_until_left(self, counts: Mapping[str, int], timeout_s: float) -> None:
        def is_so() -> bool:
            time.sleep(0.3)  # every look is a request to moto
            return all(self.left(queue) <= count for queue, count in counts.items())

        assert wait_until(is_so, timeout_s=timeout_s), {queue: self.left(queue) for queue in counts}


@dataclass(frozen=True, kw_only=True)
class Story:
    """What was sent when, and where everything is in the end."""

    rules: Mapping[str, Any]
    sent: Mapping[str, list[str]]
    before: Mapping[str, list[str]]
    left_before_the_end_of_the_outage: Mapping[str, int]
    stored: Mapping[str, list[StoredMessage]]
    letters: list[tuple[str, dict[str, Any]]]
    given_up: Mapping[str, list[str]]
    records: Mapping[tuple[str, str], int]


@pytest.fixture(scope="module")
def story(host_build: HostBuild, rocketmq: RocketMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("end-to-end")
    with ExitStack() as stack:
        aws = stack.enter_context(pretended(stack.enter_context(pytest.MonkeyPatch.context())))
        rocketmq.create_topic("telemetry", "readings")
        rules = rules_for(rocketmq)
        (folder / "rules.json").write_text(json.dumps(rules))
        reach = {"AWS_ENDPOINT_URL": aws.url}
        functions = [host_build.function(name, environment=reach, rules_layer=folder) for name in FLOWS]
        service = stack.enter_context(AccountedService(functions))
        world = World(aws, queues_of(host_build, aws), rocketmq)
        for name in FLOWS:
            (source,) = host_build.template.functions[name].sources
            for queue in (source.queue, f"{source.queue}LeftToSqs"):
                url = world.queues[queue].url
                stack.enter_context(EventSourceMapping(service, name, aws.sqs, url, source))
        (source,) = host_build.template.functions["Outbound"].sources
        fifo = replace(source, batch_size=10, window_s=0)  # as the service demands of a FIFO queue's
        stack.enter_context(EventSourceMapping(service, "Outbound", aws.sqs, world.queues["Fifo"].url, fifo))
        yield tell(world, rules, service)


def queues_of(host_build: HostBuild, aws: Aws) -> dict[str, MadeQueue]:
    """Make the template's queues, and those that the story needs beside them."""
    template = host_build.template
    queues: dict[str, DeclaredQueue] = {}
    for name, queue in template.queues.items():
        queues[name] = replace(queue, visibility_timeout_s=VISIBILITY_TIMEOUT_S)
        beside = f"{name}LeftToSqs"
        dead = f"{queue.dead_letters}LeftToSqs" if queue.dead_letters else None
        options = LEFT_TO_SQS if dead else {}
        queues[beside] = replace(queue, name=beside, queue_name=beside, dead_letters=dead, **options)
    return make_queues(aws.sqs, replace(template, queues=queues)) | {"Fifo": fifo_queue(aws)}


def fifo_queue(aws: Aws) -> MadeQueue:
    arn = aws.queue("outbound.fifo", VISIBILITY_TIMEOUT_S)
    deduplicated: Any = {"ContentBasedDeduplication": "true"}
    aws.sqs.set_queue_attributes(QueueUrl=aws.queue_url(arn), Attributes=deduplicated)
    return MadeQueue(url=aws.queue_url(arn), arn=arn)


def tell(world: World, rules: Mapping[str, Any], service: AccountedService) -> Story:
    before = {}
    for name in FLOWS:
        before[name] = world.publish(f"{name}Queue", 10)
        world.send(f"{name}Queue", POISON[name])
        before[name] += world.publish(f"{name}Queue", 10)
        before[name] += world.publish(f"{name}QueueLeftToSqs", 3)
        world.send(f"{name}QueueLeftToSqs", UNREADABLE)
        before[name] += world.publish(f"{name}QueueLeftToSqs", 3)
    # The second of group g cannot be sent, as its topic is not there yet.
    topics = {"g": ("devices", "late", "devices", "devices"), "h": ("devices",) * 4}
    for at in range(4):
        for group, of_group in topics.items():
            world.send("Fifo", published(f'"{group}{at}"', f"{of_group[at]}/x", group), group=group)
    settled = {"OutboundQueue": 0, "OutflowQueue": 0, "Fifo": 3}
    world.wait_until_left({**settled, "OutboundQueueLeftToSqs": 1, "OutflowQueueLeftToSqs": 1}, 30)

    world.rocketmq.broker.kill()
    began = time.monotonic()
    while (away_s := time.monotonic() - began) < OUTAGE_S:
        world.publish("OutboundQueue", 4)
        # A task tries again after 1, 2, 4, 8 and 16 s: for what fails in between, the test would have to wait for long.
        if away_s < 1 or away_s > OUTAGE_S - 4:
            world.publish("OutflowQueue", 8)
        time.sleep(0.5)
    left = {name: world.left(f"{name}Queue") for name in FLOWS}
    world.rocketmq.broker.start()
    world.rocketmq.create_topic("late")
    for name in FLOWS:
        world.publish(f"{name}Queue", 10)
    queues = [f"{name}{queue}" for name in FLOWS for queue in ("Queue", "QueueLeftToSqs")]
    world.wait_until_left(dict.fromkeys([*queues, "Fifo"], 0), 60)

    # The FIFO queue's go to the same topic as the queue outbound's, without the one that is late.
    in_telemetry = [*world.sent["OutboundQueue"], *world.sent["OutboundQueueLeftToSqs"], *world.sent["Fifo"]]
    in_readings = [*world.sent["OutflowQueue"], *world.sent["OutflowQueueLeftToSqs"]]
    counts = {"telemetry": len(in_telemetry) - 3, "readings": len(in_readings) - 2, "late": 1}
    with ThreadPoolExecutor() as readers:  # each is a Java program, which mostly starts
        stored = readers.map(lambda topic: consume(world.rocketmq.name_server, topic, counts[topic]), counts)
    return Story(
        rules=rules,
        sent=world.sent,
        before=before,
        left_before_the_end_of_the_outage=left,
        stored=dict(zip(counts, stored, strict=True)),
        letters=[
            (body, json.loads(envelope)) for body, envelope in world.aws.lying_in(world.queues["DeadLetters"].arn)
        ],
        given_up={
            name: [body for body, _ in world.aws.lying_in(world.queues[f"{name}DeadLettersLeftToSqs"].arn)]
            for name in FLOWS
        },
        records=totals(service.written()),
    )


def totals(written: Values) -> Mapping[tuple[str, str], int]:
    """Return the numbers of records by rule and outcome."""
    found: Counter[tuple[str, str]] = Counter()
    for (name, labels), value in written.items():
        if name == "mqbridge_records_total":
            of = dict(labels)
            found[of["rule"], of["outcome"]] += int(value)
    return found


def ids_of(stored: list[StoredMessage]) -> dict[str, list[str]]:
    """Return the ids by body, one for each time that it is stored."""
    found: dict[str, list[str]] = {}
    for each in stored:
        found.setdefault(bytes(each["body"]).decode(), []).append(str(each["msgId"]))
    return found


def expected_ids(story: Story, name: str, sent: list[str]) -> dict[str, str]:
    """Return the ids by body that a function gives to what was sent, as it says without any broker."""
    records = [{"messageId": str(at), "eventSource": "aws:sqs", "body": body} for at, body in enumerate(sent)]
    with capture(story.rules) as made:
        FLOWS[name]({"Records": records}, None)
    return {each["body"]: each["id"] for each in made if each["to"] == "rocketmq" and "body" in each}


def payload_of(body: str) -> str:
    return base64.b64decode(json.loads(body)["payload_b64"]).decode()


@pytest.mark.parametrize("name", FLOWS)
def test_poison_ends_in_the_rule_s_dead_letters_with_its_reason(story: Story, name: str) -> None:
    letters = [(json.loads(body), envelope) for body, envelope in story.letters]
    ((record, envelope),) = [each for each in letters if each[0]["body"] == POISON[name]]
    assert record["eventSourceARN"].endswith(f":mqbridge-{name.lower()}")
    told = {key: envelope[key] for key in ("rule", "stage", "reason", "attempts")}
    assert (
        told
        == {
            "Outbound": {"rule": "telemetry", "stage": "processing", "reason": "illegal_message", "attempts": 1},
            "Outflow": {"rule": "readings", "stage": "decoding", "reason": "body_not_json", "attempts": 1},
        }[name]
    )
    assert len(letters) == len(FLOWS), "and nothing else does"


@pytest.mark.parametrize("name", FLOWS)
def test_what_no_rule_answers_for_is_given_up_by_the_queue(story: Story, name: str) -> None:
    assert story.given_up[name] == [UNREADABLE]


@pytest.mark.parametrize("name", FLOWS)
def test_the_neighbours_of_poison_arrive_once(story: Story, name: str) -> None:
    ids = ids_of(story.stored[TOPIC[name]])
    assert len(story.before[name]) == 26
    assert [len(ids.get(payload_of(body), [])) for body in story.before[name]] == [1] * 26


@pytest.mark.parametrize("name", FLOWS)
def test_an_outage_loses_nothing_and_keeps_the_ids(
    story: Story, name: str, record_property: Callable[[str, object], None]
) -> None:
    assert story.left_before_the_end_of_the_outage[name] > 40, "else the outage was none"
    sent = [*story.sent[f"{name}Queue"], *story.sent[f"{name}QueueLeftToSqs"]]
    good = [body for body in sent if body not in (POISON[name], UNREADABLE)]
    expected = expected_ids(story, name, good)
    assert len(expected) == len(good) > 80
    ids = {body: found for body, found in ids_of(story.stored[TOPIC[name]]).items() if body in expected}
    assert {body: set(found) for body, found in ids.items()} == {body: {id_} for body, id_ in expected.items()}
    repeats = sum(map(len, ids.values())) - len(ids)
    print(f"{name}: {len(good)} messages, {repeats} stored twice")
    record_property(f"repeats-{name}", repeats)
    # Only what was on its way when the broker was killed may be stored without an answer.
    assert repeats <= 100


@pytest.mark.parametrize(("name", "rule"), [("Outbound", "telemetry"), ("Outflow", "readings")])
def test_the_functions_metrics_are_what_became_of_it(story: Story, name: str, rule: str) -> None:
    """That they add up, the service asserts at its end."""
    assert story.records[rule, "dead_lettered"] == 1, "the poison"
    assert story.records[rule, "failed"] > 0, "in the outage"
    arrived = len({str(each["msgId"]) for each in story.stored[TOPIC[name]]})
    assert arrived <= story.records[rule, "delivered"] <= arrived + 100, "each, and what SQS gave out twice"
    assert story.records["-", "failed"] >= 2 * LEFT_TO_SQS["max_receive_count"], "what nobody can read, each time"


def test_a_group_of_a_fifo_queue_stays_in_order_behind_a_failure(story: Story) -> None:
    found = {
        bytes(each["body"]).decode().strip('"'): each
        for topic in ("telemetry", "late")
        for each in story.stored[topic]
        if bytes(each["body"]).startswith(b'"')
    }
    assert sorted(found) == [f"{group}{at}" for group in "gh" for at in range(4)]
    assert {each["topic"] for body, each in found.items() if body == "g1"} == {"late"}
    for group in "gh":
        stored_at = [found[f"{group}{at}"]["storeTimestamp"] for at in range(4)]
        assert stored_at == sorted(stored_at)
        places = [found[f"{group}{at}"] for at in range(4) if (group, at) != ("g", 1)]
        assert len({each["queueId"] for each in places}) == 1
        assert [each["queueOffset"] for each in places] == sorted(each["queueOffset"] for each in places)
    # The other group did not wait.
    assert found["h3"]["storeTimestamp"] < found["g1"]["storeTimestamp"] - OUTAGE_S * 1000
