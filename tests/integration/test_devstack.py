"""The devstack itself: real servers start, keep their data over restarts, and leave nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack import remoting, setup
from devstack.cache import program
from devstack.errors import CommandError, RefusedError, StartError
from devstack.javatool import OutgoingMessage, consume, produce
from devstack.mosquitto import Mosquitto
from devstack.ports import free_broker_port, free_port, port_is_free
from devstack.processes import recorded_processes, wait_until
from devstack.rocketmq import RocketMQ

ROOT = Path(__file__).resolve().parents[2]
BINARY = bytes(range(256))
VIEW_MESSAGE_BY_ID = 33  # org.apache.rocketmq.common.protocol.RequestCode


@pytest.fixture(scope="module")
def rocketmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RocketMQ]:
    with RocketMQ(tmp_path_factory.mktemp("rocketmq")) as server:
        yield server


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as server:
        yield server


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def run(*command: str, lines: str | None = None, timeout_s: float = 10) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=timeout_s, input=lines).stdout


def client(name: str, server: Mosquitto, *arguments: str, lines: str | None = None, timeout_s: float = 10) -> str:
    return run(program(name), "-p", str(server.port), "-q", "1", *arguments, lines=lines, timeout_s=timeout_s)


def subscribe(server: Mosquitto, topic: str) -> None:
    client("mosquitto_sub", server, "-c", "-i", "sub", "-t", topic, "-E")


def publish(server: Mosquitto, topic: str, count: int, timeout_s: float = 10) -> None:
    lines = "".join(f"{number}\n" for number in range(count))
    client("mosquitto_pub", server, "-t", topic, "-l", lines=lines, timeout_s=timeout_s)


def receive(server: Mosquitto, topic: str, count: int) -> list[str]:
    return client("mosquitto_sub", server, "-c", "-i", "sub", "-t", topic, "-C", str(count), "-W", "10").splitlines()


def has_route(server: RocketMQ, topic: str) -> bool:
    try:
        return bool(remoting.call(server.name_server, remoting.GET_ROUTEINFO_BY_TOPIC, {"topic": topic}))
    except RefusedError:
        return False


def run_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = (sys.executable, "-c", code, *arguments)
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


# --- mosquitto ---


def test_mosquitto_keeps_an_offline_session_over_stop_and_start(mosquitto: Mosquitto) -> None:
    subscribe(mosquitto, "stopped")
    publish(mosquitto, "stopped", 2500)  # more than mosquitto would queue by default
    mosquitto.stop()
    mosquitto.start()
    assert receive(mosquitto, "stopped", 2500) == [str(number) for number in range(2500)]


def test_mosquitto_keeps_what_it_had_saved_over_kill_and_start(mosquitto: Mosquitto) -> None:
    subscribe(mosquitto, "killed")
    publish(mosquitto, "killed", 3)
    mosquitto.save()
    mosquitto.kill()
    assert not mosquitto.alive
    mosquitto.start()
    assert receive(mosquitto, "killed", 3) == ["0", "1", "2"]


def test_paused_mosquitto_is_silent_until_it_is_resumed(mosquitto: Mosquitto) -> None:
    mosquitto.pause()
    with pytest.raises(subprocess.TimeoutExpired):
        publish(mosquitto, "t", 1, timeout_s=0.3)
    assert mosquitto.alive
    mosquitto.resume()
    publish(mosquitto, "t", 1)


def test_paused_mosquitto_can_be_stopped(mosquitto: Mosquitto) -> None:
    mosquitto.pause()
    mosquitto.stop()
    assert not mosquitto.alive


def test_failed_start_tells_what_the_log_says(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="nonsense"):
        Mosquitto(tmp_path, extra_config="nonsense 1").start()


def test_start_on_a_taken_port_is_refused(mosquitto: Mosquitto, tmp_path: Path) -> None:
    with pytest.raises(StartError, match=f"port {mosquitto.port} is in use"):
        Mosquitto(tmp_path / "other", port=mosquitto.port).start()


# --- RocketMQ ---


def test_java_client_reads_what_the_java_client_sent(rocketmq: RocketMQ) -> None:
    rocketmq.create_topic("round-trip", queues=2)
    rich: OutgoingMessage = {
        "topic": "round-trip",
        "body": BINARY,
        "tags": "red",
        "keys": "k1 k2",
        "properties": {"plain": "1", "text": 'ünïcode "quoted" \u2028 \U0001f600'},
    }
    large: OutgoingMessage = {"topic": "round-trip", "body": b"x" * 5000, "shardingKey": "s"}  # sent compressed
    batch: list[OutgoingMessage] = [{"topic": "round-trip", "body": b"%d" % number, "batch": "b"} for number in (1, 2)]
    results = produce(rocketmq.name_server, [rich, large, *batch])
    assert [result["sendStatus"] for result in results] == ["SEND_OK"] * 3

    stored = {message["body"]: message for message in consume(rocketmq.name_server, "round-trip", 4)}
    assert stored.keys() == {BINARY, b"x" * 5000, b"1", b"2"}
    first = stored[BINARY]
    assert (first["tags"], first["keys"], first["msgId"]) == ("red", "k1 k2", results[0]["msgId"])
    assert first["properties"].items() >= {"KEYS": "k1 k2", "TAGS": "red", **rich["properties"]}.items()
    assert f"{stored[b'1']['msgId']},{stored[b'2']['msgId']}" == results[2]["msgId"]


def test_topics_and_messages_survive_a_kill_and_a_stop(rocketmq: RocketMQ) -> None:
    rocketmq.create_topic("kept")
    (sent,) = produce(rocketmq.name_server, [{"topic": "kept", "body": b"the body"}])
    for end in (rocketmq.kill, rocketmq.stop):
        end()
        assert not rocketmq.namesrv.alive
        assert not rocketmq.broker.alive
        rocketmq.namesrv.start()
        rocketmq.broker.start()
        assert has_route(rocketmq, "kept")
        # The second half of the id is the place in the commit log. Java would take a second to look.
        place = int(str(sent["offsetMsgId"])[-16:], 16)
        assert b"the body" in remoting.call(rocketmq.broker_address, VIEW_MESSAGE_BY_ID, {"offset": str(place)})


def test_restarted_name_server_knows_the_topics_after_register(rocketmq: RocketMQ) -> None:
    rocketmq.create_topic("registered")
    rocketmq.namesrv.kill()
    rocketmq.namesrv.start()
    rocketmq.register()
    assert has_route(rocketmq, "registered")


def test_sending_to_a_topic_that_was_not_created_fails(rocketmq: RocketMQ) -> None:
    with pytest.raises(CommandError, match="No route info of this topic"):
        produce(rocketmq.name_server, [{"topic": "unknown", "body": b"x"}])


def test_admin_tells_success_from_failure(rocketmq: RocketMQ) -> None:
    assert rocketmq.broker_address in rocketmq.admin("topicRoute", "-t", rocketmq.broker_name)
    with pytest.raises(CommandError, match="not exist"):
        rocketmq.admin("noSuchCommand")


# --- what is left behind ---


def test_leaving_the_context_leaves_no_process_and_no_open_port(tmp_path: Path) -> None:
    with RocketMQ(tmp_path / "rocketmq") as rocketmq, Mosquitto(tmp_path / "mosquitto") as mosquitto:
        pids = (rocketmq.namesrv.pid, rocketmq.broker.pid, mosquitto.pid)
        assert all(map(exists, pids))
    assert not any(map(exists, pids))
    addresses = (rocketmq.name_server, rocketmq.broker_address, mosquitto.url)
    assert all(port_is_free(int(address.rpartition(":")[2])) for address in addresses)


def test_servers_die_with_the_process_that_started_them(tmp_path: Path) -> None:
    # Started by a thread that ends at once, because for the kernel a thread is the parent.
    code = """if True:
        import pathlib, sys, threading, time
        from devstack.mosquitto import Mosquitto
        server = Mosquitto(pathlib.Path(sys.argv[1]))
        thread = threading.Thread(target=server.start)
        thread.start()
        thread.join()
        print(server.pid, server.alive, flush=True)
        time.sleep(60)
    """
    with run_python(code, str(tmp_path)) as parent:
        assert parent.stdout is not None
        pid, alive = parent.stdout.readline().split()
        assert alive == "True"
        parent.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not exists(int(pid)) or is_zombie(int(pid)), timeout_s=5)


def is_zombie(pid: int) -> bool:
    """In a container whose first process reaps nobody, the dead stay in the table."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_detached_server_outlives_its_starter_and_can_be_found_and_stopped(tmp_path: Path) -> None:
    code = """if True:
        import pathlib, sys
        from devstack.mosquitto import Mosquitto
        Mosquitto(pathlib.Path(sys.argv[1]), port=int(sys.argv[2]), detached=True).start()
    """
    port = free_port()
    with run_python(code, str(tmp_path), str(port)) as parent:
        assert parent.wait(timeout=10) == 0
    (found,) = recorded_processes(tmp_path)
    assert found.name == "mosquitto"
    assert found.alive
    found.stop()
    assert not found.alive
    assert port_is_free(port)
    assert recorded_processes(tmp_path) == []


# --- ports and set-up ---


def test_chosen_ports_do_not_overlap() -> None:
    brokers = [free_broker_port() for _ in range(50)]
    opened = [port + offset for port in brokers for offset in (-2, 0, 1)] + [free_port() for _ in range(50)]
    assert len(set(opened)) == len(opened)


def test_missing_programs_are_named_by_package_once() -> None:
    missing = setup.missing_programs(lambda name: None if name in {"java", "javac", "mvn"} else f"/usr/bin/{name}")
    assert setup.packages_for(missing) == ["default-jdk-headless", "maven"]


def test_second_setup_is_silent() -> None:
    done = subprocess.run(
        (sys.executable, "-m", "devstack.setup"), cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("", "")
