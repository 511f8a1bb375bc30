"""A broker, and a name server, that do what a test tells them, over real loopback sockets.

Frames are written and read here by hand: the code under test has no part in judging itself.
"""

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Self

__all__ = [
    "HANG_UP",
    "Answer",
    "Request",
    "ScriptedBroker",
    "ScriptedCluster",
    "black_hole",
    "encode_frame",
    "nobody",
    "route_document",
]

GET_ROUTE, SEND, SEND_BATCH, TOPIC_NOT_EXIST = 105, 310, 320, 17
SENDS = (SEND, SEND_BATCH)


class HangUp(Enum):
    HANG_UP = "close the connection instead of an answer"


HANG_UP = HangUp.HANG_UP


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    code: int = 0
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A frame that came in; a response to what we asked is one, too."""

    code: int
    fields: Mapping[str, str]
    body: bytes
    opaque: int
    flag: int
    remark: str
    link: "Link"

    def encoded(self, answer: Answer) -> bytes:
        """Return the bytes of `answer` to this request."""
        return encode_frame(
            answer.code, opaque=self.opaque, flag=1, fields=answer.fields, body=answer.body, remark=answer.remark
        )

    def reply(self, answer: Answer) -> None:
        self.link.send(self.encoded(answer))

    @property
    def items(self) -> list[tuple[bytes, dict[str, str]]]:
        """Bodies and properties of the messages in a send request, one or a batch."""
        if self.code == SEND:
            return [(self.body, _properties(self.fields["i"]))]
        return list(_batch_items(self.body))


# Bytes are sent as they are; None is silence.
Action = Answer | bytes | HangUp | None
Script = Callable[[Request], Action]


class Link:
    """One accepted connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._lock = threading.Lock()

    def send(self, data: bytes) -> None:
        with self._lock, contextlib.suppress(OSError):  # the other side may be gone
            self.socket.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class ScriptedBroker:
    """Answers each request code as scripted with `on`, and others with code 3. One thread per connection."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[Request] = []
        self.links: list[Link] = []
        self.stored: dict[tuple[str, int], list[bytes]] = {}
        self._scripts: dict[int, deque[Action | Script]] = {}
        self._changed = threading.Condition(threading.RLock())
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and close every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(timeout=5)

    def hang_up(self) -> None:
        """Close the connections there are, and go on listening."""
        for link in list(self.links):
            link.close()

    def on(self, codes: int | Iterable[int], *actions: Action | Script) -> None:
        """Answer requests of these codes with `actions` in turn, and with the last one from then on."""
        script = deque(actions)
        self._scripts.update(dict.fromkeys([codes] if isinstance(codes, int) else codes, script))

    def ask(self, code: int, *, opaque: int = 1, oneway: bool = True, fields: Mapping[str, str] | None = None) -> None:
        """Send a request of the broker's own over every connection."""
        for link in list(self.links):
            link.send(encode_frame(code, opaque=opaque, flag=2 * oneway, fields=fields or {}))

    def of(self, *codes: int) -> list[Request]:
        """Return the requests of these codes so far."""
        with self._changed:
            return [request for request in self.requests if request.code in codes and not request.flag & 1]

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
        """Wait until `condition`, which is looked at whenever a frame has come in, holds."""
        with self._changed:
            assert self._changed.wait_for(condition, timeout_s), "the expected requests did not come"

    def store(self, request: Request) -> Answer:
        """Answer a send request as a broker does that stores all of it."""
        queue = self.stored.setdefault((request.fields["b"], int(request.fields["e"])), [])
        first = len(queue)
        queue += [body for body, _ in request.items]
        return Answer(fields={"msgId": "x", "queueId": request.fields["e"], "queueOffset": str(first)})

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        if self._tls is not None:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError:
                connection.close()
                return
        link = Link(connection)
        self.links.append(link)
        for header, body in _frames(connection):
            with self._changed:
                self._act(header, body, link)
        link.close()

    def _act(self, header: dict[str, Any], body: bytes, link: Link) -> None:
        request = Request(
            code=header["code"],
            fields=header["extFields"],
            body=body,
            opaque=header["opaque"],
            flag=header["flag"],
            remark=header["remark"],
            link=link,
        )
        self.requests.append(request)
        if not request.flag & 1:
            scripts = self._scripts.get(request.code) or deque([Answer(code=3, remark="not in the script")])
            action = scripts.popleft() if len(scripts) > 1 else scripts[0]
            if callable(action):
                action = action(request)
            if isinstance(action, Answer):
                request.reply(action)
            elif isinstance(action, bytes):
                link.send(action)
            elif action is HANG_UP:
                link.close()
        self._changed.notify_all()


class ScriptedCluster:
    """A name server and brokers that store what is sent to them; every topic in `topics` has that many queues on each."""

    def __init__(self, *names: str, topics: Mapping[str, int]) -> None:
        self.name_server = ScriptedBroker()
        self.brokers = {name: ScriptedBroker() for name in names}
        self.addresses = {name: broker.address for name, broker in self.brokers.items()}
        self.topics = dict(topics)
        self.name_server.on(GET_ROUTE, self.route)
        for broker in self.brokers.values():
            broker.on(SENDS, broker.store)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.name_server.close()
        for broker in self.brokers.values():
            broker.close()

    def route(self, request: Request) -> Answer:
        queues = self.topics.get(request.fields["topic"])
        if queues is None:
            return Answer(code=TOPIC_NOT_EXIST, remark="No topic route info in name server for the topic")
        return Answer(body=route_document(self.addresses, queues=queues))

    def stored(self) -> dict[tuple[str, str, int], list[bytes]]:
        """Bodies by topic, broker and queue."""
        return {
            (topic, name, queue_id): bodies
            for name, broker in self.brokers.items()
            for (topic, queue_id), bodies in broker.stored.items()
        }

    def sent(self) -> list[Request]:
        """The send requests that brokers received."""
        return [request for broker in self.brokers.values() for request in broker.of(*SENDS)]


def route_document(addresses: Mapping[str, str], *, queues: int = 4, permission: int = 6) -> bytes:
    brokers = [{"brokerName": name, "cluster": "c", "brokerAddrs": {"0": at}} for name, at in addresses.items()]
    queue_datas = [
        {"brokerName": name, "perm": permission, "readQueueNums": queues, "writeQueueNums": queues}
        for name in addresses
    ]
    return json.dumps({"brokerDatas": brokers, "queueDatas": queue_datas}).encode()


def encode_frame(
    code: int,
    *,
    opaque: int,
    flag: int = 0,
    fields: Mapping[str, str] | None = None,
    body: bytes = b"",
    remark: str = "",
) -> bytes:
    members = {"code": code, "language": "JAVA", "version": 407, "opaque": opaque, "flag": flag}
    header = json.dumps(members | {"remark": remark, "extFields": dict(fields or {})}).encode()
    return struct.pack(">iI", 4 + len(header) + len(body), len(header)) + header + body


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """Give an address where connections are refused: bound, so that nobody else gets it, and not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """Give an address that does not even answer a SYN, as a host that is gone: the backlog is full, and Linux drops the rest."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def _frames(connection: socket.socket) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Read frames until the other side, or we, close the connection."""
    with connection.makefile("rb") as stream:
        while True:
            try:
                head = stream.read(8)
                if len(head) < 8:
                    return
                length, header_length = struct.unpack(">iI", head)
                payload = stream.read(length - 4)
            except (OSError, ValueError):  # ValueError: closed by us in between
                return
            if len(payload) < length - 4:
                return
            yield json.loads(payload[:header_length]), payload[header_length:]


def _batch_items(body: bytes) -> Iterator[tuple[bytes, dict[str, str]]]:
    """MessageDecoder.decodeMessages: size, magic, CRC, flag, body, properties."""
    at = 0
    while at < len(body):
        size, _magic, _crc, _flag, length = struct.unpack_from(">iiiii", body, at)
        end = at + 20 + length
        (block_length,) = struct.unpack_from(">h", body, end)
        assert size == 22 + length + block_length
        yield body[at + 20 : end], _properties(body[end + 2 : at + size].decode())
        at += size


def _properties(text: str) -> dict[str, str]:
    assert text.endswith("\x02")
    return dict(pair.split("\x01") for pair in text[:-1].split("\x02"))
