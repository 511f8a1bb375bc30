"""make demo-up, make demo-down: the demo's brokers and bridge, kept running to play with by hand.

read and send show RocketMQ's side with its own Java client.
"""

import argparse
import json
import sys
from pathlib import Path

from devstack.errors import DevstackError
from devstack.javatool import consume, produce
from devstack.processes import recorded_processes
from examples.demo import brokers

DIRECTORY = Path(__file__).parents[2] / ".devstack" / "demo"

HINTS = f"""
running. Three commands to paste:

  mosquitto_sub -p {brokers.MQTT_PORT} -t 'devices/+/command' -F '%t %p' &
  mosquitto_pub -p {brokers.MQTT_PORT} -t devices/d07/temperature -m 21.5 && .venv/bin/python -m examples.demo.stack read telemetry
  .venv/bin/python -m examples.demo.stack send commands reboot mqttSecondTopic=/d07/command

who is online, and who comes and goes: .venv/bin/mqbridge presence --rules examples/demo/rules.yaml
how it is: {brokers.HEALTH}/readyz and {brokers.HEALTH}/metrics; end it with: make demo-down
"""


def main() -> int:
    """Run one of the four commands."""
    parser = argparse.ArgumentParser(prog="stack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start brokers and bridge")
    commands.add_parser("down", help="stop them")
    read = commands.add_parser("read", help="print what a RocketMQ topic holds")
    read.add_argument("topic")
    send = commands.add_parser("send", help="send a RocketMQ message")
    send.add_argument("topic")
    send.add_argument("body")
    send.add_argument("properties", nargs="*", metavar="NAME=VALUE")
    options = parser.parse_args()
    try:
        if options.command == "up":
            return _up()
        if options.command == "down":
            return _down()
        if options.command == "read":
            return _read(options.topic)
        return _send(options.topic, options.body, dict(each.split("=", 1) for each in options.properties))
    except DevstackError as error:
        print(error, file=sys.stderr)
        return 2


def _up() -> int:
    brokers.free_or_explain()
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    mosquitto, rocketmq = brokers.brokers(DIRECTORY, detached=True)
    try:
        mosquitto.start()
        rocketmq.start()
        rocketmq.create_topic(*brokers.TOPICS)
        brokers.bridge(DIRECTORY, detached=True).start(brokers.is_ready)
    except DevstackError:
        _down()
        raise
    print(HINTS)
    return 0


def _down() -> int:
    for process in reversed(recorded_processes(DIRECTORY)):
        process.stop()
    return 0


def _read(topic: str) -> int:
    for message in consume(brokers.NAME_SERVER, topic, timeout_s=2):
        shown = {"id": message["msgId"], "properties": message["properties"], "body": repr(message["body"])[2:-1]}
        print(json.dumps(shown))
    return 0


def _send(topic: str, body: str, properties: dict[str, str]) -> int:
    for result in produce(brokers.NAME_SERVER, [{"topic": topic, "body": body.encode(), "properties": properties}]):
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
