"""What an outbound record costs: planned and encoded, and through the handler into a real broker."""

import base64
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measuring import Bar, Result, cpu_and_wall_s, repeated
from devstack.rocketmq import RocketMQ
from functions.outbound.app import handler
from mqbridge.delivery import OpenSinks
from mqbridge.flows import outbound
from mqbridge.handler import Bridge, using
from mqbridge.messages import MqttMessage, Record, RocketMQMessage
from mqbridge.outcomes import Send
from mqbridge.rules import Rules, load
from rocketmq_remoting import check_message, encode_batch_item

__all__ = ["handler_into_real_broker", "plan_and_encode", "sqs_event"]

BATCH = 1_000
PAYLOAD = json.dumps({"device": "d1", "values": list(range(45))}).encode()  # about 200 bytes


def _rules(name_server: str) -> Rules:
    return load(
        {
            "Instances": {
                "Mqtt": [{"InstanceId": "mqtt-bench", "Endpoint": "mqtt://127.0.0.1:1883"}],
                "RocketMQ": [{"InstanceId": "rmq-bench", "NameServers": [name_server]}],
            },
            "OutboundRules": [{"RuleId": "bench", "Source": {"Topic": "devices"}, "Destination": {"Topic": "bench"}}],
        }
    )


def _record(number: int) -> Record:
    message = MqttMessage(
        instance_id="mqtt-bench",
        topic=f"devices/d{number % 100}/up",
        payload=PAYLOAD,
        message_id=f"{number:032X}",
        time_ms=1_767_225_600_000,
        client_id=f"GID_bench@@@d{number % 100}",
        protocol_version=5,
        user_properties=(("k", "v"),),
    )
    return Record(id=str(number), attempt=1, message=message)


def sqs_event(start: int, count: int) -> dict[str, Any]:
    """Return an SQS batch of `count` messages as an AWS IoT rule sends them, from one number on."""
    payload = base64.b64encode(PAYLOAD).decode()
    return {
        "Records": [
            {
                "messageId": f"m-{number}",
                "eventSource": "aws:sqs",
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1767225600000"},
                "body": json.dumps(
                    {
                        "payload_b64": payload,
                        "topic": f"devices/d{number % 100}/up",
                        "client_id": f"GID_bench@@@d{number % 100}",
                        "ts_ms": 1_767_225_600_000,
                        "trace_id": f"{number:032X}",
                    }
                ),
            }
            for number in range(start, start + count)
        ]
    }


def plan_and_encode() -> Iterator[Result]:
    """Yield the cost of planning a record and encoding its message as a batch item."""
    rules = _rules("127.0.0.1:9876")
    records = [_record(number) for number in range(10_000)]

    def measure() -> float:
        def work() -> None:
            for planned in outbound.plan(records, rules):
                assert isinstance(planned.outcome, Send)
                for message in planned.outcome.messages:
                    assert isinstance(message, RocketMQMessage)
                    encode_batch_item(message, check_message(message))

        return cpu_and_wall_s(work)[0] / len(records) * 1e6

    bar = Bar(15.0, is_ceiling=True)
    yield repeated("plan and encode a message of 200 bytes with 6 properties", "us CPU/message", measure, bar=bar)


def handler_into_real_broker() -> Iterator[Result]:
    """Yield what the outbound handler does with SQS batches of 1,000 records into a real RocketMQ 4.9.7."""
    with tempfile.TemporaryDirectory() as directory, RocketMQ(Path(directory)) as cluster:
        cluster.create_topic("bench", queues=8)
        rules = _rules(cluster.name_server)
        sinks = OpenSinks(rules)
        cpu_us: list[float] = []

        def measure() -> float:
            events = [sqs_event(start, BATCH) for start in range(0, 20 * BATCH, BATCH)]

            def work() -> None:
                for event in events:
                    assert handler(event, None) == {"batchItemFailures": []}

            cpu_s, wall_s = cpu_and_wall_s(work)
            cpu_us.append(cpu_s / (20 * BATCH) * 1e6)
            return 20 * BATCH / wall_s

        with using(Bridge(rules, sinks)):
            name = "SQS batches of 1,000 records through the handler into RocketMQ 4.9.7"
            yield repeated(name, "records/s", measure, bar=Bar(25_000.0))
        yield Result("the same, CPU of the handler's process", "us/record", tuple(cpu_us[1:]))
        sinks.close()
