"""The MQTT source against a broker that hangs up."""

import socket
import threading
import time

import pytest

from mqbridge.rules import BatchWindow, MqttInstance
from mqbridge.telemetry import Counters
from mqbridge_cli.runner import mqtt_source
from mqbridge_cli.runner.inbox import Inbox
from mqbridge_cli.runner.mqtt_source import SHORT_LIVED_IN_A_ROW, MqttSource
from mqbridge_cli.runner.state import RuleState, State

_CONNACK = b"\x20\x03\x00\x00\x00"


class HangingUp:
    """A broker that lets the first client subscribe and hangs up on it, and on all others before they have said anything."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.hung_up = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            first, _ = self._listener.accept()
            with first:
                first.recv(1000)
                first.sendall(_CONNACK)
                subscribe = first.recv(1000)
                first.sendall(b"\x90\x04" + subscribe[2:4] + b"\x00\x01")
                time.sleep(0.1)
            while True:
                self.hung_up += 1
                self._listener.accept()[0].close()
        except OSError:
            return  # closed: the test is over

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(2)


def test_connections_that_end_before_the_subscription_are_no_duel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who duels lets the other one subscribe first; a broker that hangs up at once is only away."""
    monkeypatch.setattr(mqtt_source, "RECONNECT_MIN_S", 0.01)
    broker = HangingUp()
    instance = MqttInstance(instance_id="m", endpoint=f"mqtt://127.0.0.1:{broker.port}")
    state = RuleState("r")
    source = MqttSource(
        instance=instance,
        topic="devices",
        rule="r",
        flow="outbound",
        inbox=Inbox(BatchWindow(count=100, seconds=0), 1_000),
        credit=1_000,
        state=state,
        counters=Counters(),
    )
    seen = set()
    deadline = time.monotonic() + 10
    while broker.hung_up < 2 * SHORT_LIVED_IN_A_ROW and time.monotonic() < deadline:
        source.pump(0.02)
        seen.add(state.snapshot.state)
    broker.close()
    assert broker.hung_up >= 2 * SHORT_LIVED_IN_A_ROW
    assert State.RUNNING in seen
    assert State.TAKEN_OVER not in seen
