"""What a message outflow task costs: the plan of an event of about 900 bytes, a hundred tasks on one topic, and paths beside jmespath.

`python -m benchmarks.tasks`. Every figure is of one core, one process and one run; what is compared takes turns.
"""

import gc
import json
import time
from collections.abc import Callable
from typing import Any

import jmespath  # type: ignore[import-untyped]  # measured beside, no more

from benchmarks.measuring import Bar, Result, table
from benchmarks.patterns import FIVE, events
from mqbridge import json_text
from mqbridge.extract import compile_path
from mqbridge.flows import outflow
from mqbridge.messages import MqttMessage, Record, RocketMQMessage
from mqbridge.outcomes import Send
from mqbridge.rules import Rules, load
from rocketmq_remoting import check_message, encode_batch_item

__all__ = ["measure"]

ROUNDS = 5
SECONDS = 0.5  # of each measurement
BATCH = 100  # records
PATHS = ("data.body.temperature", "data.props.clientId", "data.body.location.building")


def measure() -> list[Result]:
    """Return the figures."""
    one, hundred = _records_and(_rules(1)), _records_and(_rules(100))
    decoded = [json_text.decode(event) for event in events()]
    ours = [compile_path(f"$.{path}") for path in PATHS]
    theirs = [jmespath.compile(path) for path in PATHS]
    gc.freeze()  # what is measured with is not looked through by the collector again and again: a runner has no such lists
    timed = _in_turns(
        {
            "one": lambda: _plan(*one),
            "hundred": lambda: _plan(*hundred),
            "ours": lambda: _find([path.find for path in ours], decoded),
            "theirs": lambda: _find([path.search for path in theirs], decoded),
        }
    )
    count = len(decoded)
    plan = Result(
        "plan of one task: decode, match, extract, encode",
        "us an event",
        tuple(s / count * 1e6 for s in timed["one"]),
        Bar(20, is_ceiling=True),
    )
    jmes = Result("three paths, jmespath", "events/s", tuple(count / s for s in timed["theirs"]))
    return [
        plan,
        Result(
            "plan of 100 tasks on one topic",
            "us an event",
            tuple(s / count * 1e6 for s in timed["hundred"]),
            Bar(10, plan, is_ceiling=True),
        ),
        jmes,
        Result("three paths, ours", "events/s", tuple(count / s for s in timed["ours"]), Bar(5, jmes)),
    ]


def _rules(tasks: int) -> Rules:
    """Return `tasks` on one topic; the first takes every event, the others as good as none."""
    all_of_them = {"data": {"body": {"temperature": [{"numeric": [">", -100]}]}}}
    rare = [
        {**FIVE[at % len(FIVE)], "data": {"body": {"device": [f"device-x{at}"], "site": ["site-01"]}}}
        for at in range(1, tasks)
    ]
    return load(
        {
            "Instances": {
                "Mqtt": [{"InstanceId": "mqtt-local", "Endpoint": "mqtt://127.0.0.1:1883"}],
                "RocketMQ": [{"InstanceId": "rmq-local", "NameServers": ["127.0.0.1:9876"]}],
            },
            "EventStreamings": [
                {
                    "EventStreamingName": f"task-{at}",
                    "FilterPattern": pattern,
                    "Source": {"SourceMQTTParameters": {"Topic": "devices"}},
                    "Sink": {
                        "SinkRocketMQParameters": {
                            "Topic": {"Form": "CONSTANT", "Value": "alarms"},
                            "Body": {"Form": "JSONPATH", "Value": "$.data.body"},
                            "Properties": {"Form": "JSONPATH", "Value": "$.data.userProperties"},
                            "Keys": {"Form": "JSONPATH", "Value": "$.data.props.clientId"},
                            "Tags": {
                                "Form": "TEMPLATE",
                                "Value": '{"site": "$.data.body.site"}',
                                "Template": "hot-${site}",
                            },
                        }
                    },
                }
                for at, pattern in enumerate([all_of_them, *rare])
            ],
        }
    )


def _records_and(rules: Rules) -> tuple[list[Record], Rules]:
    return [_record(number, json.loads(event)) for number, event in enumerate(events())], rules


def _record(number: int, event: dict[str, Any]) -> Record:
    props = event["data"]["props"]
    message = MqttMessage(
        instance_id="mqtt-local",
        topic=props["firstTopic"] + props["secondTopic"],
        payload=json_text.encode(event["data"]["body"]).encode(),
        message_id=f"{number:032X}",
        time_ms=1_767_225_600_000,
        client_id=props["clientId"],
        protocol_version=5,
        user_properties=tuple(event["data"]["userProperties"].items()),
        content_type="application/json",
    )
    return Record(id=str(number), attempt=1, message=message)


def _plan(records: list[Record], rules: Rules) -> None:
    """Plan and encode in batches as a task's window makes them; what is sent is forgotten, so that memory is used again."""
    for start in range(0, len(records), BATCH):
        for planned in outflow.plan(records[start : start + BATCH], rules):
            if isinstance(planned.outcome, Send):
                for message in planned.outcome.messages:
                    if isinstance(message, RocketMQMessage):
                        encode_batch_item(message, check_message(message))


def _find(finders: list[Callable[[Any], Any]], decoded: list[Any]) -> None:
    for event in decoded:
        for find in finders:
            find(event)


def _in_turns(works: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Return for each the seconds of CPU of one call, of every round: other programs may want the core."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            calls, began = 0, time.process_time()
            while time.process_time() - began < SECONDS:
                work()
                calls += 1
            seconds[name].append((time.process_time() - began) / calls)
    return seconds


if __name__ == "__main__":
    print(table(measure()))
