"""make demo: the whole way of a message, on real brokers, proved by clients that are not ours.

20 devices publish 2,000 messages, the bridge takes them to RocketMQ, and RocketMQ's own Java client reads them there. The Java client
sends 200 commands, the bridge takes them to MQTT, and mosquitto_sub receives them. 500 sensors' readings go through a task that filters,
masks and routes them; one of them is poison. All the while devices come and go, and RocketMQ is told. Exit code 0 if nothing was lost at
QoS 1 and 2, the poison is in the dead-letter queue, and who is online at the end is known.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from devstack.errors import DevstackError
from devstack.javatool import OutgoingMessage, StoredMessage, consume, produce
from devstack.mosquitto import Mosquitto
from devstack.processes import ManagedProcess, wait_until
from examples.demo import brokers, presence, task
from examples.demo.devices import DEVICES, Reading, publish, readings

MESSAGES, COMMANDS, SENSOR_READINGS = 2_000, 200, 500
# What the task must make of the message that is no JSON.
POISONED = ["hot-sensors: decoding: body_not_json"]
# Each device connects to publish messages, and again to publish readings.
ROUNDS = 2


def main() -> int:
    """Run the demo and return its exit code."""
    brokers.free_or_explain()
    directory = Path(tempfile.mkdtemp(prefix="mqbridge-demo-"))
    try:
        return _demo(directory)
    except DevstackError as error:
        print(f"the demo could not run: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _demo(directory: Path) -> int:
    mosquitto, rocketmq = brokers.brokers(directory)
    print("starting mosquitto, RocketMQ 4.9.7 (name server, broker) and mqbridge ...")
    with mosquitto, rocketmq:
        rocketmq.create_topic(*brokers.TOPICS)
        with (
            _running(brokers.bridge(directory)) as bridge,
            _Subscriber(directory / "received", mosquitto) as subscriber,
            presence.a_device_that_stays(brokers.MQTT_PORT),
        ):
            messages, commands, sensors = readings(MESSAGES), _commands(), task.sensor_readings(SENSOR_READINGS)
            hot = task.expected_alarms(sensors)
            _show_while(Thread(target=publish, args=(brokers.MQTT_PORT, messages)), "outbound", len(messages))
            _show_while(Thread(target=produce, args=(brokers.NAME_SERVER, commands)), "inbound", len(commands))
            _show_while(Thread(target=publish, args=(brokers.MQTT_PORT, sensors)), "outflow", len(hot))
            lost = Thread(target=presence.a_device_lost, args=(brokers.MQTT_PORT,))
            _show_while(lost, "status", presence.records(ROUNDS))
            print("reading RocketMQ with its own Java client, and what mosquitto_sub received ...")
            subscriber.wait_for(len(commands))
            bridge.stop()  # before reading: whatever it had under way is settled then
            stored = consume(brokers.NAME_SERVER, "telemetry", len(messages), timeout_s=15, grace_s=1)
            rows = _outbound_rows(messages, stored)
            rows.append(_row("commands in, publish-subscribe and P2P", _sent_commands(commands), subscriber.received()))
            rows.append(_row("hot sensors: filtered, masked, routed", hot, task.alarms(hot)))
            events = presence.expected(ROUNDS)
            told = presence.notices(len(events))
            rows.append(_row("devices coming and going", events, presence.seen(told)))
            reasons = task.poison_reasons()
    online = presence.online(told)
    _print_table(rows)
    print(f"\nin the dead-letter queue: {'; '.join(reasons) or 'nothing'}")
    print(f"online at the end: {', '.join(online) or 'nobody'}")
    is_proved = all(row.lost == 0 for row in rows if row.must_arrive)
    is_proved = is_proved and reasons == POISONED and online == [presence.STAYS]
    print(
        "\nnothing lost at QoS 1 and 2."
        if is_proved
        else "\nMESSAGES WERE LOST, or the dead-letter queue or who is online is not as it must be."
    )
    return 0 if is_proved else 1


@contextmanager
def _running(bridge: ManagedProcess) -> Iterator[ManagedProcess]:
    bridge.start(brokers.is_ready)
    try:
        yield bridge
    finally:
        bridge.stop()


class _Subscriber:
    """mosquitto_sub, subscribed as the devices would be, writing topic, QoS and payload of each command to a file."""

    def __init__(self, path: Path, mosquitto: Mosquitto) -> None:
        self._path = path
        self._log = mosquitto.log_path

    def __enter__(self) -> "_Subscriber":
        command = ["mosquitto_sub", "-p", str(brokers.MQTT_PORT), "-V", "5", "-q", "1", "-F", "%t %q %x"]
        filters = ["-t", "devices/+/command", "-t", "devices/p2p/+"]
        with self._path.open("wb") as output:
            self._process = subprocess.Popen([*command, *filters], stdout=output)
        wait_until(lambda: "devices/p2p/+ (QoS 1)" in self._log.read_text(errors="replace"), timeout_s=5)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def received(self) -> list[tuple[object, ...]]:
        """Return (topic, QoS, payload) of what has come."""
        lines = [line.split(" ") for line in self._path.read_text().splitlines()]
        return [(topic, int(qos), bytes.fromhex(payload)) for topic, qos, payload in lines]

    def wait_for(self, count: int) -> None:
        """Wait for `count` commands, and a little longer for duplicates."""
        wait_until(lambda: len(self.received()) >= count, timeout_s=15)
        time.sleep(0.5)


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    sent: int
    lost: int
    duplicates: int
    must_arrive: bool = True


def _row(name: str, sent: Iterable[Hashable], received: Iterable[Hashable], *, must_arrive: bool = True) -> _Row:
    expected, came = Counter(sent), Counter(received)
    return _Row(
        name,
        sent=expected.total(),
        lost=sum(1 for each in expected if each not in came),
        duplicates=sum(came[each] - 1 for each in expected if came[each] > 1),
        must_arrive=must_arrive,
    )


def _outbound_rows(messages: Sequence[Reading], stored: Sequence[StoredMessage]) -> list[_Row]:
    # Everything that the mapping promises is compared, not only the payload. A subscriber at QoS 1 is sent QoS 2 as QoS 1.
    came = [
        (
            each["body"],
            each["properties"].get("topic"),
            each["properties"].get("mqttSecondTopic"),
            each["properties"].get("qoslevel"),
            each["properties"].get("clientId"),
            each["properties"].get("mqtt5UserProperty"),
        )
        for each in stored
    ]
    rows = []
    for qos in (1, 2, 0):
        expected = [_expected(each) for each in messages if each.qos == qos]
        rows.append(_row(f"telemetry out, QoS {qos}", expected, came, must_arrive=qos > 0))
    return rows


def _expected(reading: Reading) -> tuple[Hashable, ...]:
    _parent, _, levels = reading.topic.partition("/")
    properties = json.dumps([{"key": k, "value": v} for k, v in reading.user_properties], separators=(",", ":"))
    return (
        reading.payload,
        reading.topic,
        f"/{levels}",
        str(min(reading.qos, 1)),
        levels.partition("/")[0],
        properties if reading.user_properties else None,
    )


def _commands() -> list[OutgoingMessage]:
    return [
        {
            "topic": "commands",
            "body": f"command {number}".encode(),
            "properties": {
                "mqttSecondTopic": f"/p2p/GID_demo@@@d{number % DEVICES:02}"
                if number % 2
                else f"/d{number % DEVICES:02}/command",
                "qoslevel": "1",
            },
        }
        for number in range(COMMANDS)
    ]


def _sent_commands(commands: Sequence[OutgoingMessage]) -> list[tuple[Hashable, ...]]:
    return [(f"devices{each['properties']['mqttSecondTopic']}", 1, each["body"]) for each in commands]


def _show_while(sending: Thread, flow: str, total: int) -> None:
    """Print the bridge's own count of what it has delivered, until it is all or nothing more comes."""
    sending.start()
    shown, unchanged_since = -1, time.monotonic()
    while shown < total and (sending.is_alive() or time.monotonic() - unchanged_since < 5):
        delivered = brokers.metric("mqbridge_records_total", flow=flow, outcome="delivered")
        if delivered != shown:
            shown, unchanged_since = delivered, time.monotonic()
            print(f"  {flow:8} {shown:5} of {total} delivered", flush=True)
        time.sleep(0.5)
    sending.join()


def _print_table(rows: Sequence[_Row]) -> None:
    print(f"\n{'':42}{'sent':>8}{'received':>10}{'lost':>8}{'duplicates':>12}")
    for row in rows:
        print(f"{row.name:42}{row.sent:8}{row.sent - row.lost:10}{row.lost:8}{row.duplicates:12}")


if __name__ == "__main__":
    sys.exit(main())
