"""Message outflow tasks on real brokers, through `mqbridge run` and `mqbridge task`."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
from paho.mqtt.client import Client

from devstack.javatool import StoredMessage, consume
from devstack.mosquitto import Mosquitto
from devstack.processes import wait_until
from devstack.rocketmq import RocketMQ
from tests.integration.running_bridge import RunningBridge, connected, data_rules, publish_all, user_properties


class TaskBridge(RunningBridge):
    """The runner with a state directory of its own, asked and told by `mqbridge task`."""

    def __init__(self, directory: Path, rules: Mapping[str, Any], *options: str) -> None:
        super().__init__(directory, rules, "--state-dir", str(directory / "state"), *options)
        self._rules_path = directory / "rules.json"

    def __enter__(self) -> Self:
        self.start()
        return self

    def write(self, rules: Mapping[str, Any] | str) -> None:
        """Change the rules file."""
        self._rules_path.write_text(rules if isinstance(rules, str) else json.dumps(rules))

    def told(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Return exit code and answer of `mqbridge task`."""
        runner = self._health.removeprefix("http://")
        command = [sys.executable, "-m", "mqbridge_cli.main", "task", *arguments]
        done = subprocess.run(
            [*command, "--runner", runner, "--format", "json"], capture_output=True, text=True, check=False, timeout=60
        )
        return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}

    def task(self, name: str) -> dict[str, Any]:
        """Return what the runner says of a task."""
        code, document = self.told("show", name)
        assert code == 0, document
        found: dict[str, Any] = document["task"]
        return found

    def wait_for_config(self, before: str) -> None:
        """Wait until other rules than those of the hash `before` are in force."""
        assert wait_until(lambda: self.readiness()[1].get("config_hash") != before, timeout_s=10)


def _task(name: str, topic: str, *, source: str = "devices", **more: Any) -> dict[str, Any]:
    sink = {
        "Topic": {"Form": "CONSTANT", "Value": topic},
        "Body": {"Form": "JSONPATH", "Value": "$.data.body"},
        **more.pop("sink", {}),
    }
    kind = more.pop("body_data_type", "JSON")
    return {
        "EventStreamingName": name,
        "Source": {"SourceMQTTParameters": {"Topic": source, "BodyDataType": kind}},
        "Sink": {"SinkRocketMQParameters": sink},
        **more,
    }


def _reading(number: int, **more: Any) -> bytes:
    return json.dumps({"id": f"{number:032X}", "n": number, **more}).encode()


def _numbers(stored: Sequence[StoredMessage]) -> list[int]:
    """The readings' numbers, in the order in which each queue has them."""
    ordered = sorted(stored, key=lambda each: (each["queueId"], each["queueOffset"]))
    return [json.loads(each["body"])["n"] for each in ordered]


def _publish(device: Client, numbers: Sequence[int], topic: str = "devices/d1/up") -> None:
    publish_all(device, [(topic, _reading(number), 1) for number in numbers])


def test_matching_messages_arrive_mapped(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    rocketmq.create_topic(fresh_topic)
    sink = {
        "Properties": {"Form": "JSONPATH", "Value": "$.data.userProperties"},
        "Keys": {"Form": "JSONPATH", "Value": "$.data.props.clientId"},
        "Tags": {"Form": "TEMPLATE", "Value": '{"t": "$.data.body.unit"}', "Template": "in-${t}"},
    }
    pattern = {"data": {"body": {"temperature": [{"numeric": [">", 80]}]}}}
    task = _task("hot", fresh_topic, FilterPattern=pattern, sink=sink)
    with TaskBridge(tmp_path, data_rules(mosquitto, rocketmq, EventStreamings=[task])) as bridge:
        with connected(mosquitto) as (device, _):
            _publish(device, [1])
            for number, degrees in ((2, 80), (3, 80.5), (4, 99)):
                payload = _reading(number, temperature=degrees, unit="C")
                device.publish(
                    "devices/d1/up", payload, 1, properties=user_properties(("site", "north"))
                ).wait_for_publish(5)
        stored = consume(rocketmq.name_server, fresh_topic, 2)
        counters = bridge.task("hot")["counters"]
        _, listed = bridge.told("list")
    assert _numbers(stored) == [3, 4]
    assert stored[0]["body"] in (_reading(3, temperature=80.5, unit="C"), _reading(4, temperature=99, unit="C"))
    assert {(each["keys"], each["tags"], each["properties"].get("site")) for each in stored} == {
        ("d1", "in-C", "north")
    }
    assert counters == {
        "received": 4,
        "delivered": 2,
        "dropped": 2,
        "dead_lettered": 0,
        "discarded": 0,
        "failed": 0,
    }
    assert [(each["name"], each["status"]) for each in listed["tasks"]] == [("hot", "RUNNING")]
    assert "EventStreamings are not run" not in (tmp_path / "mqbridge.log").read_text()


def test_a_task_blocks_at_a_record_stays_so_over_a_restart_and_resumes_without_loss(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    """A message that is no JSON stops the task; once the rules take it as text, all come, each device's in order."""
    rocketmq.create_topic(fresh_topic)
    rules = data_rules(mosquitto, rocketmq, EventStreamings=[_task("strict", fresh_topic)])
    bridge = TaskBridge(tmp_path, rules)
    poison = b'no JSON, "n": 10'
    with connected(mosquitto) as (device, _):
        with bridge:
            _publish(device, range(10))
            # In one go, so that good ones of the same device follow the bad one in its batch.
            publish_all(
                device, [("devices/d1/up", poison, 1), *(("devices/d1/up", _reading(n), 1) for n in range(11, 20))]
            )
            bridge.wait_for_state("strict", "BLOCKED")
            status, readiness = bridge.readiness()
            assert status == 503
            assert "mqbridge task resume strict" in readiness["rules"][0]["help"]
            assert bridge.counter("mqbridge_task_blocked", rule="strict") == 1
            before = bridge.task("strict")
            assert before["status"] == "READY"
            assert (before["blocked"]["stage"], before["blocked"]["reason"]) == ("decoding", "body_not_json")
            _publish(device, range(20, 30))
        bridge.start(until_ready=False)
        try:
            bridge.wait_for_state("strict", "BLOCKED")
            assert bridge.task("strict")["blocked"] == before["blocked"]
            config_hash = bridge.readiness()[1]["config_hash"]
            bridge.write(
                data_rules(mosquitto, rocketmq, EventStreamings=[_task("strict", fresh_topic, body_data_type="Text")])
            )
            bridge.wait_for_config(config_hash)
            assert bridge.state("strict") == "BLOCKED", "a changed file does not resume it"
            code, answer = bridge.told("resume", "strict")
            assert (code, answer["task"]["blocked"]) == (0, None)
            bridge.wait_for_state("strict", "RUNNING")
            stored = consume(rocketmq.name_server, fresh_topic, 30)
        finally:
            bridge.stop()
    ordered = sorted(stored, key=lambda each: (each["queueId"], each["queueOffset"]))
    assert [bytes(each["body"]) for each in ordered] == [poison if n == 10 else _reading(n) for n in range(30)]


@pytest.mark.parametrize("tolerance", ["NONE", "ALL"])
def test_a_dead_letter_queue_takes_the_record_and_the_task_goes_on(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path, tolerance: str
) -> None:
    """With ErrorsTolerance ALL and no queue the record is discarded, and counted."""
    letters = f"{fresh_topic}_dlq"
    rocketmq.create_topic(fresh_topic, letters)
    queue = {"Arn": f"acs:mq:local:0:/instances/rmq-test/topic/{letters}"}
    options = {"ErrorsTolerance": tolerance} | ({"DeadLetterQueue": queue} if tolerance == "NONE" else {})
    rules = data_rules(mosquitto, rocketmq, EventStreamings=[_task("strict", fresh_topic, RunOptions=options)])
    with TaskBridge(tmp_path, rules) as bridge, connected(mosquitto) as (device, _):
        publish_all(device, [("devices/d1/up", b"no JSON", 1)])
        _publish(device, [1])
        assert _numbers(consume(rocketmq.name_server, fresh_topic, 1)) == [1]
        counters = bridge.task("strict")["counters"]
        error = bridge.task("strict")["last_error"]
        if tolerance == "NONE":
            (letter,) = consume(rocketmq.name_server, letters, 1)
            assert json.loads(letter["body"])["data"]["body"] == "no JSON"
    outcome = "dead_lettered" if tolerance == "NONE" else "discarded"
    # A broker that is busy may have had either of them wait, which counts as failed.
    assert (counters["delivered"], counters[outcome]) == (1, 1)
    assert (error["outcome"], error["stage"], error["reason"]) == (outcome, "decoding", "body_not_json")
    assert "no JSON" not in json.dumps(error).replace("not JSON", "")


def test_pausing_while_devices_publish_loses_nothing(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    rocketmq.create_topic(fresh_topic)
    rules = data_rules(mosquitto, rocketmq, EventStreamings=[_task("all", fresh_topic)])
    bridge = TaskBridge(tmp_path, rules)
    enough = threading.Event()
    published = 0

    def publish(device: Client) -> None:
        nonlocal published
        while not enough.wait(0.005):
            _publish(device, [published], f"devices/d{published % 5}/up")
            published += 1

    with connected(mosquitto) as (device, _):
        publishing = threading.Thread(target=publish, args=(device,))
        with bridge:
            publishing.start()
            assert wait_until(lambda: published > 200, timeout_s=20)
            code, answer = bridge.told("pause", "all")
            assert (code, answer["task"]["status"], answer["task"]["lag"]["unsettled"]) == (0, "PAUSED", 0)
            assert bridge.readiness()[0] == 200, "who was told to pause is as it should be"
        with bridge:
            assert bridge.state("all") == "PAUSED", "it is remembered over a restart"
            delivered = bridge.task("all")["counters"]["delivered"]
            assert (delivered, bridge.told("resume", "all")[0]) == (0, 0)
            bridge.wait_for_state("all", "RUNNING")
            assert wait_until(lambda: bridge.counter("mqbridge_records_total", outcome="delivered") > 0, timeout_s=10)
            enough.set()
            publishing.join()
            stored = consume(rocketmq.name_server, fresh_topic, published)
    assert sorted(_numbers(stored)) == list(range(published)), "each once"


def test_a_task_that_its_file_pauses_is_not_resumed_by_command(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    rocketmq.create_topic(fresh_topic)
    rules = data_rules(mosquitto, rocketmq, EventStreamings=[_task("off", fresh_topic, Status="Paused")])
    with TaskBridge(tmp_path, rules) as bridge:
        assert bridge.task("off")["status"] == "PAUSED"
        code, answer = bridge.told("resume", "off")
        assert code == 1
        assert "Status in the rules file is Paused" in answer["error"]
        assert bridge.told("show", "nothing")[0] == 1


def test_changed_rules_touch_only_what_changed_and_bad_ones_nothing(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    topics = [f"{fresh_topic}_{n}" for n in range(4)]
    rocketmq.create_topic(*topics)

    def rules(*tasks: dict[str, Any]) -> dict[str, Any]:
        return data_rules(mosquitto, rocketmq, EventStreamings=list(tasks))

    steady = _task("steady", topics[0])
    with TaskBridge(tmp_path, rules(steady, _task("changed", topics[1]), _task("removed", topics[1]))) as bridge:
        with connected(mosquitto) as (device, _):
            _publish(device, [0])
            assert wait_until(lambda: bridge.counter("mqbridge_records_total", outcome="delivered") == 3, timeout_s=10)
            config_hash = bridge.readiness()[1]["config_hash"]

            bridge.write('{"Instances": {}, "EventStreamings": [{"Nonsense": 1}]}')
            assert wait_until(lambda: "config_error" in bridge.readiness()[1], timeout_s=10)
            status, readiness = bridge.readiness()
            assert (status, readiness["config_hash"]) == (200, config_hash)
            assert any("EventStreamings[0].Nonsense" in fault for fault in readiness["config_error"]["faults"])
            assert bridge.counter("mqbridge_config_reloads_total", outcome="refused") == 1

            started = _starts(bridge, "steady")
            bridge.write(rules(steady, _task("changed", topics[2]), _task("added", topics[3])))
            bridge.wait_for_config(config_hash)
            for name in ("steady", "changed", "added"):
                bridge.wait_for_state(name, "RUNNING")
            assert "config_error" not in bridge.readiness()[1]
            assert bridge.counter("mqbridge_config_reloads_total", outcome="ok") == 1
            assert _starts(bridge, "steady") == started, "what is the same is not touched"
            assert bridge.told("show", "removed")[0] == 1
            _publish(device, [1])
            assert wait_until(lambda: bridge.counter("mqbridge_records_total", outcome="delivered") == 6, timeout_s=10)
            config_hash = bridge.readiness()[1]["config_hash"]
            bridge.write(rules(steady, _task("changed", topics[2], source="others"), _task("added", topics[3])))
            bridge.wait_for_config(config_hash)
            bridge.wait_for_state("changed", "RUNNING")
            _publish(device, [2])
            _publish(device, [3], "others/d1")
            assert wait_until(lambda: bridge.counter("mqbridge_records_total", outcome="delivered") == 9, timeout_s=10)
        expected = [[0, 1, 2], [0, 0], [1, 3], [1, 2]]
        for topic, numbers in zip(topics, expected, strict=True):
            assert sorted(_numbers(consume(rocketmq.name_server, topic, len(numbers)))) == numbers


def _starts(bridge: TaskBridge, rule: str) -> int:
    return sum(
        f'"rule":"{rule}"' in line and '"state":"RUNNING"' in line for line in bridge.process.output.splitlines()
    )


def test_throttling_keeps_the_rate(mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path) -> None:
    """50 a second, and one second's worth at once: 200 take three seconds."""
    rocketmq.create_topic(fresh_topic)
    task = _task("slow", fresh_topic, RunOptions={"Throttling": 50})
    with TaskBridge(tmp_path, data_rules(mosquitto, rocketmq, EventStreamings=[task])) as bridge:
        with connected(mosquitto) as (device, _):
            _publish(device, range(200))
        stored = consume(rocketmq.name_server, fresh_topic, 200)
        assert bridge.task("slow")["counters"]["delivered"] == 200
    times_ms = sorted(each["storeTimestamp"] for each in stored)
    assert _numbers(stored) == list(range(200))
    assert times_ms[-1] - times_ms[0] >= 2_800
    for at, begin_ms in enumerate(times_ms):
        in_a_second = [each for each in times_ms[at:] if each < begin_ms + 1_000]
        assert len(in_a_second) <= 2 * 50 + 5, "a burst and what comes in the second after it"


def test_a_route_sends_to_several_topics_and_all_must_exist(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    sink, all_items, sale, other = (f"{fresh_topic}_{name}" for name in ("sink", "items", "sale", "other"))
    rocketmq.create_topic(sink, all_items, other)
    route = {
        "Path": "$.data.body.brand",
        "defaultTopic": other,
        "rules": [{"regex": "^A", "targetTopics": [all_items, sale]}, {"regex": "B$", "targetTopics": [all_items]}],
    }
    task = _task("router", sink, Transforms=[{"Route": route}])
    bridge = TaskBridge(tmp_path, data_rules(mosquitto, rocketmq, EventStreamings=[task]))
    bridge.start(until_ready=False)
    try:
        bridge.wait_for_state("router", "STARTING_FAILED")
        found = bridge.task("router")
        assert found["status"] == "STARTING_FAILED"
        assert sale in found["reason"]
        rocketmq.create_topic(sale)
        bridge.wait_for_state("router", "RUNNING")
        with connected(mosquitto) as (device, _):
            brands = ["AB", "A", "B", "C"]
            publish_all(device, [("devices/d1", _reading(n, brand=brand), 1) for n, brand in enumerate(brands)])
            assert wait_until(lambda: bridge.counter("mqbridge_records_total", outcome="delivered") == 4, timeout_s=10)
        for topic, numbers in ((all_items, [0, 1, 2]), (sale, [0, 1]), (other, [3])):
            assert sorted(_numbers(consume(rocketmq.name_server, topic, len(numbers)))) == numbers
    finally:
        bridge.stop()


def test_workers_are_told_and_changed_as_one(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    rocketmq.create_topic(fresh_topic)

    def rules(count: int) -> dict[str, Any]:
        tasks = [_task(f"task-{n}", fresh_topic, source=f"parent{n}") for n in range(count)]
        return data_rules(mosquitto, rocketmq, EventStreamings=tasks)

    with TaskBridge(tmp_path, rules(3), "--workers", "2") as bridge, connected(mosquitto) as (device, _):
        _, listed = bridge.told("list")
        assert [each["name"] for each in listed["tasks"]] == ["task-0", "task-1", "task-2"]
        for name in ("task-0", "task-1"):  # one in each process
            assert bridge.told("pause", name)[1]["task"]["status"] == "PAUSED"
        assert bridge.told("pause", "task-9")[0] == 1
        config_hash = bridge.readiness()[1]["config_hash"]
        bridge.write("not: [rules")
        assert wait_until(lambda: "config_error" in bridge.readiness()[1], timeout_s=10)
        os.kill(children_of(bridge.process.pid)[0], signal.SIGKILL)
        assert wait_until(lambda: len(bridge.readiness()[1]["rules"]) < 3, timeout_s=10)
        assert wait_until(lambda: len(bridge.readiness()[1]["rules"]) == 3, timeout_s=20), "it has what is in force"
        assert bridge.readiness()[1]["config_hash"] == config_hash
        bridge.write(rules(4))
        assert wait_until(lambda: len(bridge.readiness()[1].get("rules", [])) == 4, timeout_s=20)
        bridge.wait_for_state("task-3", "RUNNING")
        assert (bridge.state("task-0"), bridge.state("task-1")) == ("PAUSED", "PAUSED"), "a pause outlives a change"
        assert bridge.counter("mqbridge_config_reloads_total", outcome="ok") == 1
        for n in range(4):
            _publish(device, [n], f"parent{n}/d1")
        assert [bridge.told("resume", name)[0] for name in ("task-0", "task-1")] == [0, 0]
        assert sorted(_numbers(consume(rocketmq.name_server, fresh_topic, 4))) == [0, 1, 2, 3]


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_commands_are_not_taken_from_web_pages(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    rocketmq.create_topic(fresh_topic)
    with TaskBridge(tmp_path, data_rules(mosquitto, rocketmq, EventStreamings=[_task("all", fresh_topic)])) as bridge:
        for headers in ({}, {"Mqbridge-Control": "task", "Host": "evil.example"}):
            request = urllib.request.Request(f"{bridge._health}/tasks/all/pause", method="POST", headers=headers)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=5)
            assert refused.value.code == 403
            refused.value.close()
        assert bridge.state("all") == "RUNNING"


def test_no_runner_is_exit_code_2_and_no_state_directory_is_said_at_the_start(
    mosquitto: Mosquitto, rocketmq: RocketMQ, tmp_path: Path
) -> None:
    begin = time.monotonic()
    bridge = TaskBridge(tmp_path, data_rules(mosquitto, rocketmq, EventStreamings=[_task("all", "t")]))
    assert bridge.told("list")[0] == 2
    assert time.monotonic() - begin < 10
    (tmp_path / "state").write_text("a file, where the directory should be")
    done = subprocess.run(bridge.process.command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert "state directory" in done.stderr
