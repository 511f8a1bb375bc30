"""The MQTT sink against a scripted broker: the reason code of whatever answer it was that failed a message."""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from mqbridge.delivery.mqtt_sink import MqttSink
from mqbridge.delivery.sinks import Sent
from mqbridge.outcomes import Answer, Delivered, Failed, Reject
from mqbridge.rules import load
from tests.unit.mqbridge.support import document, publish

CONNACK, CONNACK_3 = bytes.fromhex("2003000000"), bytes.fromhex("20020000")


@contextmanager
def broker(*answers: bytes) -> Iterator[int]:
    """Give `answers` to one client's packets, each to the next, then hang up; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as connection:
                for answer in answers:
                    connection.recv(65_536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)
        assert not thread.is_alive()


def sent_to(answers: Sequence[bytes], version: str = "5") -> Sent:
    with broker(*answers) as port:
        parts = document()
        parts["Instances"]["Mqtt"][0] |= {"Endpoint": f"mqtt://127.0.0.1:{port}", "ProtocolVersion": version}
        sink = MqttSink(load(parts).mqtt["mqtt-local"])
        try:
            return sink.send([publish()], time.monotonic() + 5)[0]
        finally:
            sink.close()


def puback(reason: int) -> bytes:
    return bytes((0x40, 4, 0, 1, reason, 0))


def test_a_stored_message_is_delivered() -> None:
    assert sent_to([CONNACK, puback(0)]) == Delivered()


@pytest.mark.parametrize(
    ("answers", "kind", "reason", "answer"),
    [
        ([CONNACK, puback(0x97)], Failed, "broker_refused", Answer(0x97)),  # quota exceeded
        ([CONNACK, puback(0x87)], Reject, "broker_forbids", Answer(0x87)),  # not authorized
        ([CONNACK, bytes.fromhex("e0028b00")], Failed, "outcome_unknown", Answer(0x8B)),  # server shutting down
        ([CONNACK, b""], Failed, "outcome_unknown", None),
        ([bytes.fromhex("2003008800")], Failed, "connect_failed", Answer(0x88)),  # server unavailable
        ([bytes.fromhex("2003008700")], Failed, "connect_failed", Answer(0x87)),
        ([b""], Failed, "connect_failed", None),
    ],
)
def test_what_failed_has_the_reason_code_that_the_broker_gave(
    answers: list[bytes], kind: type, reason: str, answer: Answer | None
) -> None:
    sent = sent_to(answers)
    assert isinstance(sent, Failed | Reject)
    assert (type(sent), sent.reason, sent.answer) == (kind, reason, answer)


def test_mqtt_3_1_1_has_no_reason_codes() -> None:
    sent = sent_to([bytes.fromhex("20020003")], version="3.1.1")  # server unavailable
    assert isinstance(sent, Failed)
    assert (sent.reason, sent.answer) == ("connect_failed", None)
    assert sent_to([CONNACK_3, b"\x40\x02\x00\x01"], version="3.1.1") == Delivered()
