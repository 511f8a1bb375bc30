"""One socket to one peer, and the loop that serves several at once. No threads.

Requests are pipelined: `submit` as many as you like, then `wait` until the answers that matter are there. Answers are matched by
opaque, because brokers send requests of their own in between.
"""

import select
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import count
from typing import TYPE_CHECKING

from .acl import Credentials
from .codes import ResponseCode, refusal
from .errors import ConnectFailed, OutcomeUnknown, RocketMQError
from .frames import Frame, FrameDecoder

if TYPE_CHECKING:
    import ssl

__all__ = ["Connection", "Request", "exchange", "require", "wait"]

# Brokers and name servers close a channel after 120 s without traffic. A process that was frozen (a function between two
# invocations, SIGSTOP) does not see it, and a request written to such a socket is lost: after half that time we dial again.
IDLE_LIMIT_S = 60.0
_READ_BYTES = 256 * 1024

# What `exchange` sends: where to, request code, fields, body.
Request = tuple["Connection", int, Mapping[str, str], bytes]


class Connection:
    """A connection to `address` ("host:port") that is made when first needed, and again after it broke or fell idle.

    `on_request` receives what the peer asks on its own; such requests are never mistaken for answers.
    """

    def __init__(
        self,
        address: str,
        *,
        credentials: Credentials | None = None,
        tls: "ssl.SSLContext | None" = None,
        on_request: Callable[[Frame], None] | None = None,
    ) -> None:
        self.address = address
        self._credentials = credentials
        self._tls = tls
        self._on_request = on_request
        self._opaques = count(1)
        self._socket: socket.socket | None = None
        self._decoder = FrameDecoder()
        self._outgoing = bytearray()
        self._awaited: set[int] = set()
        self._answers: dict[int, Frame | RocketMQError] = {}
        self._last_use = (0.0, 0.0)
        self._not_now: tuple[type[OSError], ...] = (BlockingIOError,)
        if tls is not None:
            from ssl import SSLWantReadError, SSLWantWriteError  # here, because it costs a cold start 10 ms

            self._not_now = (SSLWantReadError, SSLWantWriteError)

    @property
    def is_open(self) -> bool:
        """Whether there is a socket; it may be dead all the same."""
        return self._socket is not None

    def open(self, deadline: float) -> None:
        """Make sure that there is a live connection, dialling if there is none or it may have been closed unnoticed.

        Raises:
            ConnectFailed: the peer could not be reached before `deadline` (time.monotonic seconds).
        """
        if self._socket is not None and (self._idle_s() > IDLE_LIMIT_S or self._hung_up()):
            self._fail(OutcomeUnknown(f"connection to {self.address} was idle or closed"))
        if self._socket is not None:
            return
        host, _, port = self.address.rpartition(":")
        timeout_s = deadline - time.monotonic()
        try:
            if timeout_s <= 0:
                raise TimeoutError("no time left")
            plain = socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s)
        except (OSError, ValueError, OverflowError) as error:
            raise ConnectFailed(f"cannot connect to {self.address}: {error}") from error
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = self._tls.wrap_socket(plain, server_hostname=host.strip("[]")) if self._tls else plain
        except OSError as error:
            plain.close()
            raise ConnectFailed(f"no TLS with {self.address}: {error}") from error
        self._socket.setblocking(False)
        self._decoder = FrameDecoder()
        self._touch()

    def submit(self, code: int, fields: Mapping[str, str], body: bytes = b"", *, oneway: bool = False) -> int:
        """Queue a request for sending and return its opaque, under which `take` gives the answer.

        The connection must be open.
        """
        opaque = next(self._opaques) & 0x7FFFFFFF
        if self._credentials:
            fields = self._credentials.sign(fields, body)
        self._outgoing += Frame(code=code, opaque=opaque, fields=fields, body=body, is_oneway=oneway).encode()
        if not oneway:
            self._awaited.add(opaque)
        return opaque

    def take(self, opaque: int) -> Frame | RocketMQError | None:
        """Return the answer, or what prevented it, and forget it; None while it has not come."""
        return self._answers.pop(opaque, None)

    def has_answer(self, opaque: int) -> bool:
        """Tell whether `take` would return something."""
        return opaque in self._answers

    def abandon(self, opaque: int) -> None:
        """Stop waiting for an answer; if it comes later, it is ignored."""
        self._awaited.discard(opaque)
        self._answers.pop(opaque, None)

    def close(self) -> None:
        """Close the socket; what is still awaited is answered with `OutcomeUnknown`."""
        self._fail(OutcomeUnknown(f"connection to {self.address} closed"))

    def fileno(self) -> int:
        """Return the socket's descriptor, -1 when closed."""
        return self._socket.fileno() if self._socket else -1

    @property
    def interest(self) -> int:
        """What to poll for."""
        return select.POLLIN | (select.POLLOUT if self._outgoing else 0)

    def advance(self) -> None:
        """Write and read as much as goes without blocking."""
        try:
            self._write()
            self._read()
        except RocketMQError as error:
            self._fail(error)
        except OSError as error:
            self._fail(OutcomeUnknown(f"connection to {self.address} lost: {error}"))

    def _write(self) -> None:
        while self._outgoing and self._socket is not None:
            try:
                # At most 1 MiB at a time: deleting from the front moves what remains.
                sent = self._socket.send(memoryview(self._outgoing)[: 1 << 20].toreadonly())
            except self._not_now:
                return
            del self._outgoing[:sent]
            self._touch()

    def _read(self) -> None:
        while self._socket is not None:
            try:
                data = self._socket.recv(_READ_BYTES)
            except self._not_now:
                return
            if not data:
                raise OutcomeUnknown(f"{self.address} closed the connection")
            self._touch()
            for frame in self._decoder.feed(data):
                self._accept(frame)

    def _accept(self, frame: Frame) -> None:
        if frame.is_response:
            if frame.opaque in self._awaited:
                self._awaited.discard(frame.opaque)
                self._answers[frame.opaque] = frame
            return
        if self._on_request is not None:
            self._on_request(frame)
        if not frame.is_oneway:
            answer = Frame(
                code=ResponseCode.REQUEST_CODE_NOT_SUPPORTED,
                opaque=frame.opaque,
                remark="this client answers no requests",
                is_response=True,
            )
            self._outgoing += answer.encode()

    def _fail(self, error: RocketMQError) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._outgoing = bytearray()
        self._answers.update(dict.fromkeys(self._awaited, error))
        self._awaited.clear()

    def _touch(self) -> None:
        self._last_use = (time.monotonic(), time.time())

    def _idle_s(self) -> float:
        # A frozen machine's monotonic clock may have stood still with it; the wall clock is set right on the thaw.
        monotonic, wall = self._last_use
        return max(time.monotonic() - monotonic, time.time() - wall)

    def _hung_up(self) -> bool:
        """Read what is there; a peer that closed the connection is noticed before anything is entrusted to it."""
        self.advance()
        return self._socket is None


def wait(connections: Collection[Connection], done: Callable[[], bool], deadline: float) -> None:
    """Serve `connections` until `done()`, the deadline passes, or none is open any more."""
    while not done():
        remaining_s = deadline - time.monotonic()
        live = {connection.fileno(): connection for connection in connections if connection.is_open}
        if remaining_s <= 0 or not live:
            return
        poll = select.poll()
        for descriptor, connection in live.items():
            poll.register(descriptor, connection.interest)
        for descriptor, _ in poll.poll(min(remaining_s, 1.0) * 1000):
            live[descriptor].advance()


def exchange(requests: Iterable[Request], deadline: float) -> list[Frame | RocketMQError]:
    """Send every (connection, code, fields, body), all in flight at once, and return the answers in the same order.

    What failed is returned, not raised: `ConnectFailed`, `OutcomeUnknown` or `ProtocolError`.
    """
    answers: list[Frame | RocketMQError] = []
    pending: dict[int, tuple[Connection, int]] = {}
    for connection, code, fields, body in requests:
        try:
            connection.open(deadline)
        except ConnectFailed as error:
            answers.append(error)
        else:
            pending[len(answers)] = (connection, connection.submit(code, fields, body))
            answers.append(OutcomeUnknown(f"no answer from {connection.address} in time"))

    def all_answered() -> bool:
        for at, (connection, opaque) in list(pending.items()):
            answer = connection.take(opaque)
            if answer is not None:
                answers[at] = answer
                del pending[at]
        return not pending

    wait({connection for connection, _ in pending.values()}, all_answered, deadline)
    # A peer that let the time pass may be hung or gone without a word: the next request dials anew.
    for connection in {connection for connection, _ in pending.values()}:
        connection.close()
    for connection, opaque in pending.values():
        connection.abandon(opaque)
    return answers


def require(answer: Frame | RocketMQError, *also: ResponseCode) -> Frame:
    """Return a successful answer, or one of the codes `also` expected; raise what it stands for otherwise."""
    if isinstance(answer, RocketMQError):
        raise answer
    if answer.code != ResponseCode.SUCCESS and answer.code not in also:
        raise refusal(answer.code, answer.remark)
    return answer
