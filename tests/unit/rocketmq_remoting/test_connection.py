"""One connection and the loop that serves several: answers find their requests, and everything ends at its deadline."""

import ssl
import time
from collections.abc import Iterator

import pytest

from rocketmq_remoting import ConnectFailed, Credentials, OutcomeUnknown, ProtocolError, RocketMQError
from rocketmq_remoting.connection import Connection
from rocketmq_remoting.exchange import exchange
from rocketmq_remoting.frames import Frame
from tests.certificates import Authority

from .scripted_broker import HANG_UP, Answer, Request, ScriptedBroker, black_hole, encode_frame, nobody

ECHO, OTHER, QUIET = 1000, 1001, 1002


def echo(request: Request) -> Answer:
    return Answer(fields=request.fields, body=request.body)


@pytest.fixture
def broker() -> Iterator[ScriptedBroker]:
    with ScriptedBroker() as scripted:
        scripted.on(ECHO, echo)
        scripted.on(QUIET, None)
        yield scripted


@pytest.fixture
def asked() -> list[Frame]:
    return []


@pytest.fixture
def connection(broker: ScriptedBroker, asked: list[Frame]) -> Iterator[Connection]:
    made = Connection(broker.address, on_request=asked.append)
    yield made
    made.close()


def ask(
    connection: Connection, *numbers: int, code: int = ECHO, body: bytes = b"", timeout_s: float = 5.0
) -> list[Frame | RocketMQError]:
    requests = [(connection, code, {"number": str(number)}, body) for number in numbers]
    return exchange(requests, time.monotonic() + timeout_s)


def numbers_of(answers: list[Frame | RocketMQError]) -> list[int]:
    assert all(isinstance(answer, Frame) for answer in answers), answers
    return [int(answer.fields["number"]) for answer in answers if isinstance(answer, Frame)]


# --- answers ---


def test_many_requests_in_flight_get_their_own_answers(connection: Connection) -> None:
    assert numbers_of(ask(connection, *range(500))) == list(range(500))


def test_large_request_and_answer_pass_in_pieces(connection: Connection) -> None:
    body = bytes(range(256)) * 12_000  # 3 MB, more than any socket buffer
    (answer,) = ask(connection, 1, body=body)
    assert isinstance(answer, Frame)
    assert answer.body == body


def test_answers_out_of_order_find_their_requests(connection: Connection, broker: ScriptedBroker) -> None:
    held: list[Request] = []

    def reversed_when_three(request: Request) -> bytes | None:
        held.append(request)
        return b"".join(each.encoded(echo(each)) for each in reversed(held)) if len(held) == 3 else None

    broker.on(OTHER, reversed_when_three)
    assert numbers_of(ask(connection, 5, 6, 7, code=OTHER)) == [5, 6, 7]


def test_request_of_the_broker_is_no_answer_even_under_the_same_opaque(
    connection: Connection, broker: ScriptedBroker, asked: list[Frame]
) -> None:
    def in_between(request: Request) -> bytes:
        own = encode_frame(40, opaque=request.opaque, flag=2, fields={"consumerGroup": "g"})
        return own + request.encoded(echo(request)) + own

    broker.on(OTHER, in_between)
    assert numbers_of(ask(connection, 1, code=OTHER)) == [1]
    ask(connection, 2)
    assert [(frame.code, frame.fields, frame.is_oneway) for frame in asked] == [(40, {"consumerGroup": "g"}, True)] * 2


def test_request_of_the_broker_is_declined_unless_it_wants_no_answer(
    connection: Connection, broker: ScriptedBroker
) -> None:
    ask(connection, 1)
    broker.ask(39, opaque=70, oneway=True)
    broker.ask(39, opaque=71, oneway=False)
    ask(connection, 2)
    ask(connection, 3)
    responses = [request for request in broker.requests if request.flag & 1]
    assert [(response.opaque, response.code) for response in responses] == [(71, 3)]


def test_answer_that_nobody_awaits_is_ignored(connection: Connection, broker: ScriptedBroker) -> None:
    broker.on(
        OTHER, lambda request: encode_frame(0, opaque=request.opaque + 1000, flag=1) + request.encoded(echo(request))
    )
    assert numbers_of(ask(connection, 1, code=OTHER)) == [1]


def test_abandoned_answer_is_ignored_when_it_comes(connection: Connection, broker: ScriptedBroker) -> None:
    held: list[Request] = []
    broker.on(OTHER, held.append)
    connection.open(time.monotonic() + 5)
    abandoned = connection.submit(OTHER, {})
    ask(connection, 1)
    connection.abandon(abandoned)
    held[0].reply(Answer())
    ask(connection, 2)
    assert not connection.has_answer(abandoned)
    assert connection.take(abandoned) is None


def test_oneway_request_arrives_and_awaits_nothing(connection: Connection, broker: ScriptedBroker) -> None:
    connection.open(time.monotonic() + 5)
    connection.submit(ECHO, {"number": "9"}, oneway=True)
    ask(connection, 1)
    assert [(request.fields["number"], request.flag) for request in broker.requests] == [("9", 2), ("1", 0)]


def test_requests_are_signed(broker: ScriptedBroker) -> None:
    credentials = Credentials(access_key="key", secret_key="planted-secret")
    connection = Connection(broker.address, credentials=credentials)
    ask(connection, 1, body=b"body")
    connection.close()
    assert broker.requests[0].fields == credentials.sign({"number": "1"}, b"body")


# --- failures ---


def test_refused_connection_is_connect_failed() -> None:
    with nobody() as address:
        (answer,) = ask(Connection(address), 1)
    assert isinstance(answer, ConnectFailed)
    assert address in str(answer)


@pytest.mark.parametrize(
    "address", ["", "nonsense", "host:port", ":", "127.0.0.1:70000", "127.0.0.1:-1", "[::1", "a" * 300 + ":1"]
)
def test_address_that_is_none_is_connect_failed(address: str) -> None:
    (answer,) = ask(Connection(address), 1, timeout_s=2.0)
    assert isinstance(answer, ConnectFailed)


def test_host_that_is_gone_is_connect_failed_at_the_deadline() -> None:
    start = time.monotonic()
    with black_hole() as address:
        (answer,) = ask(Connection(address), 1, timeout_s=0.2)
    assert isinstance(answer, ConnectFailed)
    assert 0.15 < time.monotonic() - start < 1.5


@pytest.mark.parametrize("order", [1, -1])
def test_host_that_is_gone_does_not_spoil_the_requests_to_others(connection: Connection, order: int) -> None:
    with black_hole() as address:
        gone = Connection(address)
        requests = [(gone, ECHO, {"number": "1"}, b""), (connection, ECHO, {"number": "2"}, b"")]
        answers = exchange(requests[::order], time.monotonic() + 0.2)[::order]
    assert isinstance(answers[0], ConnectFailed)
    assert numbers_of(answers[1:]) == [2]


def test_silent_peer_is_outcome_unknown_at_the_deadline_and_dialled_anew(
    connection: Connection, broker: ScriptedBroker
) -> None:
    start = time.monotonic()
    (answer,) = ask(connection, 1, code=QUIET, timeout_s=0.1)
    assert isinstance(answer, OutcomeUnknown)
    assert 0.05 < time.monotonic() - start < 1.5
    assert numbers_of(ask(connection, 2)) == [2]
    assert len(broker.links) == 2


def test_answers_that_came_count_though_others_did_not(connection: Connection) -> None:
    requests = [(connection, code, {"number": "1"}, b"") for code in (ECHO, QUIET, ECHO)]
    answers = exchange(requests, time.monotonic() + 0.1)
    assert [type(answer) for answer in answers] == [Frame, OutcomeUnknown, Frame]


def test_connection_closed_instead_of_an_answer_is_outcome_unknown_at_once(
    connection: Connection, broker: ScriptedBroker
) -> None:
    broker.on(OTHER, HANG_UP)
    (answer,) = ask(connection, 1, code=OTHER, timeout_s=60)
    assert isinstance(answer, OutcomeUnknown)
    assert broker.address in str(answer)


def test_connection_closed_mid_frame_is_outcome_unknown(connection: Connection, broker: ScriptedBroker) -> None:
    def half(request: Request) -> None:
        request.link.send(request.encoded(echo(request))[:-5])
        request.link.close()

    broker.on(OTHER, half)
    (answer,) = ask(connection, 1, code=OTHER, timeout_s=60)
    assert isinstance(answer, OutcomeUnknown)
    assert numbers_of(ask(connection, 2)) == [2]


@pytest.mark.parametrize(
    "rubbish", [b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(8), b"\x00\x00\x00\x06\x00\x00\x00\x02[]"]
)
def test_bytes_that_are_no_frame_are_a_protocol_error_and_end_the_connection(
    connection: Connection, broker: ScriptedBroker, rubbish: bytes
) -> None:
    broker.on(OTHER, rubbish)
    answers = ask(connection, 1, 2, code=OTHER, timeout_s=60)
    assert [type(answer) for answer in answers] == [ProtocolError] * 2
    assert not connection.is_open
    assert numbers_of(ask(connection, 3)) == [3]


def test_header_with_a_number_without_end_is_a_protocol_error(connection: Connection, broker: ScriptedBroker) -> None:
    header = b'{"code":1e999,"flag":1,"opaque":1}'
    broker.on(OTHER, (4 + len(header)).to_bytes(4, "big") + len(header).to_bytes(4, "big") + header)
    (answer,) = ask(connection, 1, code=OTHER, timeout_s=60)
    assert isinstance(answer, ProtocolError)


def test_peer_that_never_pauses_cannot_hold_us_beyond_the_deadline(
    connection: Connection, broker: ScriptedBroker
) -> None:
    """128 MiB of the broker's own requests at once: reading must stop in between to look at the clock."""
    one = encode_frame(40, opaque=1, flag=2, body=bytes(1000))
    broker.on(OTHER, one * (128 * 1024 * 1024 // len(one)))
    start = time.thread_time()  # of this thread alone: what else the machine does is no matter
    (answer,) = ask(connection, 1, code=OTHER, timeout_s=0.1)
    assert isinstance(answer, OutcomeUnknown)
    assert time.thread_time() - start < 0.5, "reading all of it takes longer"


def test_deadline_that_has_passed_sends_nothing(connection: Connection, broker: ScriptedBroker) -> None:
    ask(connection, 1)
    (answer,) = ask(connection, 2, timeout_s=-1.0)
    assert isinstance(answer, ConnectFailed)  # which says that nothing was sent
    assert numbers_of(ask(connection, 3)) == [3]
    assert [request.fields["number"] for request in broker.requests] == ["1", "3"]


# --- connections that died unseen ---


def test_connection_that_the_peer_closed_meanwhile_is_dialled_anew_without_a_failure(
    connection: Connection, broker: ScriptedBroker
) -> None:
    ask(connection, 1)
    broker.hang_up()
    assert numbers_of(ask(connection, 2)) == [2]
    assert len(broker.links) == 2


@pytest.mark.parametrize("idle", [(61.0, 0.0), (0.0, 61.0)], ids=["monotonic", "wall clock after a thaw"])
def test_connection_idle_for_a_minute_is_dialled_anew(
    connection: Connection, broker: ScriptedBroker, idle: tuple[float, float]
) -> None:
    ask(connection, 1)
    connection._last_use = (time.monotonic() - idle[0], time.time() - idle[1])
    assert numbers_of(ask(connection, 2)) == [2]
    assert len(broker.links) == 2


def test_connection_in_use_is_kept(connection: Connection, broker: ScriptedBroker) -> None:
    ask(connection, 1)
    connection._last_use = (time.monotonic() - 55, time.time() - 55)
    ask(connection, 2)
    assert len(broker.links) == 1


def test_what_is_awaited_on_an_idle_connection_is_outcome_unknown(connection: Connection) -> None:
    connection.open(time.monotonic() + 5)
    awaited = connection.submit(QUIET, {})
    connection._last_use = (0.0, 0.0)
    connection.open(time.monotonic() + 5)
    assert isinstance(connection.take(awaited), OutcomeUnknown)


def test_closed_connection_answers_what_is_awaited_and_can_be_used_again(connection: Connection) -> None:
    connection.open(time.monotonic() + 5)
    awaited = connection.submit(QUIET, {})
    connection.close()
    assert isinstance(connection.take(awaited), OutcomeUnknown)
    assert connection.fileno() == -1
    assert numbers_of(ask(connection, 2)) == [2]


# --- TLS ---


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls_broker(authority: Authority) -> Iterator[ScriptedBroker]:
    identity = authority.issue("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate_path, identity.key_path)
    with ScriptedBroker(tls=context) as scripted:
        scripted.on(ECHO, echo)
        yield scripted


def test_tls_carries_large_requests_and_answers(authority: Authority, tls_broker: ScriptedBroker) -> None:
    connection = Connection(tls_broker.address, tls=authority.context())
    body = bytes(range(256)) * 12_000
    answers = ask(connection, *range(3), body=body)
    connection.close()
    assert numbers_of(answers) == [0, 1, 2]
    assert all(isinstance(answer, Frame) and answer.body == body for answer in answers)


def test_certificate_that_is_not_trusted_is_connect_failed(tls_broker: ScriptedBroker) -> None:
    connection = Connection(tls_broker.address, tls=ssl.create_default_context())
    (answer,) = ask(connection, 1)
    assert isinstance(answer, ConnectFailed)
    assert "TLS" in str(answer)
    assert not connection.is_open


def test_certificate_of_another_host_is_connect_failed(authority: Authority, tls_broker: ScriptedBroker) -> None:
    context = authority.context()
    (answer,) = ask(Connection(tls_broker.address.replace("127.0.0.1", "localhost"), tls=context), 1)
    assert isinstance(answer, ConnectFailed)
    assert "Hostname mismatch" in str(answer)


def test_tls_to_a_plain_broker_is_connect_failed(broker: ScriptedBroker) -> None:
    (answer,) = ask(Connection(broker.address, tls=ssl.create_default_context()), 1, timeout_s=0.1)
    assert isinstance(answer, ConnectFailed)


def test_tls_without_a_host_name_is_connect_failed(broker: ScriptedBroker) -> None:
    port = broker.address.rpartition(":")[2]
    (answer,) = ask(Connection(f":{port}", tls=ssl.create_default_context()), 1, timeout_s=0.3)
    assert isinstance(answer, ConnectFailed)
