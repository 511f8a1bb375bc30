"""Nothing is waited for longer than there is time: calls that hang, names with many addresses, answers that come late."""

import gc
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import pytest

from mqbridge.cleanse import Unavailable
from mqbridge.cleanse import outside as outside_module
from mqbridge.cleanse.outside import RealOutside
from mqbridge.delivery import OpenSinks
from mqbridge.delivery import aws as aws_module
from mqbridge.delivery.aws import put_in_batches
from mqbridge.messages import MqttMessage
from mqbridge.outcomes import Delivered, Failed
from mqbridge.patience import OutOfTime, until, within
from mqbridge.rules import Rules, load
from mqbridge.secrets import UnresolvedSecret, resolve
from mqbridge.sources import reading
from mqbridge.sources.places import place_of
from mqbridge.sources.reading import CannotRead, open_reader
from mqbridge.triggers import visibility
from tests.unit.mqbridge.support import document

LONG_S = 30.0


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What hangs waits for this, so that no test leaves a thread behind."""
    event = threading.Event()
    yield event
    event.set()


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def test_a_call_in_time_is_as_if_it_were_made_here() -> None:
    here: ContextVar[str] = ContextVar("here", default="elsewhere")
    here.set("here")
    assert within(LONG_S, here.get) == "here"
    with pytest.raises(ZeroDivisionError):
        within(LONG_S, lambda: 1 // 0)
    assert within(LONG_S, lambda: None) is None


def test_what_a_call_that_failed_had_opened_goes_with_it() -> None:
    """Sockets, for example: a circle of references would keep them open until garbage is looked for, which is rarely."""

    class Opened:
        pass

    opened: list[weakref.ref[Opened]] = []

    def call() -> None:
        one = Opened()
        opened.append(weakref.ref(one))
        raise OSError

    gc.disable()
    try:
        with suppress(OSError):
            within(LONG_S, call)
        deadline = time.monotonic() + 5.0  # the thread may still be ending
        while opened[0]() is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert opened[0]() is None
    finally:
        gc.enable()


def test_one_that_hangs_is_waited_for_no_longer(released: threading.Event) -> None:
    with at_most(LONG_S / 2), pytest.raises(OutOfTime, match=r"no answer within 0\.1 s"):
        within(0.1, lambda: released.wait(LONG_S))


def test_what_comes_late_is_given_to_who_asked_for_it(released: threading.Event) -> None:
    came: list[bool] = []
    done = threading.Event()

    def late(value: bool) -> None:
        came.append(value)
        done.set()

    with pytest.raises(OutOfTime):
        within(0.05, lambda: released.wait(LONG_S), late)
    assert came == []
    released.set()
    assert done.wait(LONG_S)
    assert came == [True]
    assert within(LONG_S, lambda: True, late) is True
    assert came == [True], "what was in time is not late as well"


def test_the_nearest_end_counts(released: threading.Event) -> None:
    with until(time.monotonic() + LONG_S), until(time.monotonic() + 0.1), until(time.monotonic() + 2 * LONG_S):
        with at_most(LONG_S / 2), pytest.raises(OutOfTime):
            within(LONG_S, lambda: released.wait(LONG_S))
        with pytest.raises(OutOfTime):  # within a call, too
            within(LONG_S, lambda: within(LONG_S, lambda: released.wait(LONG_S)))
    with until(time.monotonic() - 1), pytest.raises(OutOfTime, match="no time left"):
        within(LONG_S, lambda: pytest.fail("there was no time to begin"))
    assert within(LONG_S, lambda: "over") == "over"


# Who asks.


@pytest.mark.parametrize("ask", ["invoke", "get_item"])
def test_a_lookup_ends_with_the_time_for_planning(
    ask: str, released: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(*_arguments: Any, **_named: Any) -> Any:
        released.wait(LONG_S)

    monkeypatch.setattr(outside_module, "_invoke", hang)
    monkeypatch.setattr(outside_module, "_dynamodb", hang)
    asked: dict[str, Callable[[], Any]] = {
        "invoke": lambda: RealOutside().invoke("arn:aws:lambda:eu-central-1:123456789012:function:f", b"{}"),
        "get_item": lambda: RealOutside().get_item("t", "eu-central-1", {}),
    }
    with until(time.monotonic() + 0.1), at_most(LONG_S / 2), pytest.raises(Unavailable, match="OutOfTime"):
        asked[ask]()


def test_a_dead_letter_queue_that_hangs_leaves_its_letters_to_the_source(released: threading.Event) -> None:
    def hang(_batch: Any) -> dict[int, str]:
        released.wait(LONG_S)
        return {}

    with at_most(LONG_S / 2):
        sent = put_in_batches([("letter", 1)], hang, time.monotonic() + 0.1)
    assert sent == [Failed("queue_failed", "AWS cannot be asked: OutOfTime")]
    assert aws_module.CALL_S < LONG_S / 2


def test_hiding_that_hangs_is_a_favour_less(
    released: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(visibility, "CALL_S", 0.1)
    monkeypatch.setattr(visibility, "_client", lambda _region: released.wait(LONG_S))
    with at_most(LONG_S / 2):
        visibility.hide_on_aws("arn:aws:sqs:eu-central-1:123456789012:q", [visibility.Hidden("handle", 1)])
    assert "visibility not changed" in caplog.text


def test_a_secret_that_does_not_come_fails_its_own_instance_only(
    released: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mqbridge.secrets.ANSWER_S", 0.1)
    monkeypatch.setattr("mqbridge.secrets._ask_aws", lambda *_arguments: released.wait(LONG_S))
    with at_most(LONG_S / 2), pytest.raises(UnresolvedSecret, match="no answer within"):
        resolve("ssm:/never/asked/before")


def test_rules_that_come_late_are_there_at_the_next_look(
    released: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stores tell of a change once: what nobody waited for must not be lost."""
    answers: list[bytes | None] = [b"{}", None]
    fetched = threading.Event()

    def fetch() -> bytes | None:
        released.wait(LONG_S)
        answer = answers.pop(0)
        fetched.set()
        return answer

    monkeypatch.setattr(reading, "ANSWER_S", 0.1)
    monkeypatch.setattr(reading, "_fetch_of", lambda _place: fetch)
    read: list[str] = []

    def loaded(text: str) -> Rules:
        read.append(text)
        return load(document())

    reader = open_reader(place_of("s3://bucket/key"), "s3://bucket/key", loaded)
    with at_most(LONG_S / 2), pytest.raises(CannotRead, match="no answer within"):
        reader.read()
    released.set()
    assert fetched.wait(LONG_S)
    deadline = time.monotonic() + LONG_S
    while not read and time.monotonic() < deadline:
        reader.read()
        answers.append(None)
    assert read == ["{}"]


# Names with many addresses.


@contextmanager
def addresses(*places: tuple[str, int]) -> Iterator[str]:
    """Yield a host name that has these addresses."""
    real = socket.getaddrinfo

    def resolve_name(host: Any, *arguments: Any, **named: Any) -> Any:
        if host != "many.test":
            return real(host, *arguments, **named)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolve_name)
        yield "many.test"


@contextmanager
def silent(count: int) -> Iterator[list[tuple[str, int]]]:
    """Yield places on which connections are never answered: a listener whose queue is full drops them."""
    opened: list[socket.socket] = []
    places: list[tuple[str, int]] = []
    try:
        for at in range(count):
            listener = socket.socket()
            opened.append(listener)
            listener.bind((f"127.0.0.{at + 2}", 0))
            listener.listen(0)
            places.append(listener.getsockname())
            for _ in range(3):
                waiting = socket.socket()
                opened.append(waiting)
                waiting.setblocking(False)
                waiting.connect_ex(places[-1])
        yield places
    finally:
        for each in opened:
            each.close()


def publish(host: str, left_s: float) -> Any:
    made = document()
    made["Instances"]["Mqtt"][0]["Endpoint"] = f"mqtt://{host}:1883"
    sinks = OpenSinks(load(made))
    message = MqttMessage(instance_id="mqtt-local", topic="devices/d1", payload=b"on", qos=0)
    try:
        return sinks.send("mqtt", "mqtt-local", [message], time.monotonic() + left_s)[0]
    finally:
        sinks.close()


def test_a_host_of_many_dead_addresses_takes_no_longer_than_one() -> None:
    with silent(4) as places, addresses(*places) as host, at_most(5.0):
        outcome = publish(host, 1.0)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "connect_failed"


def test_behind_a_dead_address_a_live_one_is_found() -> None:
    with silent(1) as places, socket.create_server(("127.0.0.1", 0)) as broker:

        def serve() -> None:
            connection, _ = broker.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"\x20\x03\x00\x00\x00")  # CONNACK
                while connection.recv(4096):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with addresses(*places, broker.getsockname()) as host:
            assert publish(host, 4.0) == Delivered()
        thread.join(LONG_S)


def test_a_broker_that_never_answers_connect_is_told_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as broker, addresses(broker.getsockname()) as host:
        outcome = publish(host, 0.5)
    assert isinstance(outcome, Failed)
    assert outcome.detail == "mqtt-local: no answer to CONNECT in time"
