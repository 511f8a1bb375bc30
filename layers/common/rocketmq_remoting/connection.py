"""One socket to one peer, never blocking. No threads.

Requests are pipelined: `submit` as many as you like, call `advance` when the socket is ready, and `take` the answers. They are matched
by opaque, because brokers send requests of their own in between. `exchange.py` has the loop that serves several connections.
"""

import errno
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from enum import Enum
from itertools import count
from typing import TYPE_CHECKING, Any

from .acl import Credentials
from .codes import ResponseCode
from .errors import ConnectFailed, OutcomeUnknown, RocketMQError
from .frames import Frame, FrameDecoder

if TYPE_CHECKING:
    import ssl

__all__ = ["Connection"]

# Brokers and name servers close a channel after 120 s without traffic. A process that was frozen (a function between two
# invocations, SIGSTOP) does not see it, and a request written to such a socket is lost: after half that time we dial again.
IDLE_LIMIT_S = 60.0
_READ_BYTES = 256 * 1024
# A peer that never pauses must not keep us from looking at the clock, or at other peers.
_READS_AT_ONCE = 16


class _Phase(Enum):
    CLOSED = "closed"
    CONNECTING = "connecting"
    HANDSHAKING = "handshaking"
    OPEN = "open"


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
        self.times_opened = 0
        self._credentials = credentials
        self._tls = tls
        self._on_request = on_request
        self._opaques = count(1)
        self._phase = _Phase.CLOSED
        self._socket: socket.socket | None = None
        self._candidates: deque[Any] = deque()  # addresses of the host that were not tried yet
        self._handshake_wants_write = False
        self._decoder = FrameDecoder()
        self._outgoing = bytearray()
        self._awaited: set[int] = set()
        self._answers: dict[int, Frame | RocketMQError] = {}
        self._failure: RocketMQError | None = None
        self._last_use = (0.0, 0.0)
        self._not_now: tuple[type[OSError], ...] = (BlockingIOError,)
        if tls is not None:
            from ssl import SSLWantReadError, SSLWantWriteError  # here, because it costs a cold start 10 ms

            self._not_now = (SSLWantReadError, SSLWantWriteError)

    @property
    def is_open(self) -> bool:
        """Whether there is a connection; it may be dead all the same."""
        return self._phase is _Phase.OPEN

    @property
    def is_closed(self) -> bool:
        """Whether there is no connection, and none is being made."""
        return self._phase is _Phase.CLOSED

    def begin(self) -> None:
        """Begin to dial, unless there is a live connection or one is being made already.

        Raises:
            ConnectFailed: the address cannot be dialled at all. What fails later is the answer to the requests submitted meanwhile.
        """
        # While answers are awaited, the connection is read anyway, and looking again would be one more system call a request.
        if self._phase is _Phase.OPEN and (self._idle_s() > IDLE_LIMIT_S or (not self._awaited and self._hung_up())):
            self._fail(OutcomeUnknown(f"connection to {self.address} was idle or closed"))
        if self._phase is not _Phase.CLOSED:
            return
        host, _, port = self.address.rpartition(":")
        try:
            self._candidates = deque(socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM))
        except (OSError, ValueError, OverflowError) as error:
            raise ConnectFailed(f"cannot connect to {self.address}: {error}") from error
        self._failure = None
        self._dial("no address")
        if self._failure is not None:
            raise self._failure

    def open(self, deadline: float) -> None:
        """Make sure that there is a live connection, waiting for it until `deadline` (time.monotonic seconds).

        Raises:
            ConnectFailed: the peer could not be reached in time.
        """
        self.begin()
        while self._phase in (_Phase.CONNECTING, _Phase.HANDSHAKING):
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                self.give_up("in time")
                break
            poll = select.poll()
            poll.register(self.fileno(), self.interest)
            if poll.poll(remaining_s * 1000):
                self.advance()
        if self._phase is not _Phase.OPEN:
            raise self._failure or ConnectFailed(f"cannot connect to {self.address}")

    def submit(self, code: int, fields: Mapping[str, str], body: bytes = b"", *, oneway: bool = False) -> int:
        """Queue a request for sending and return its opaque, under which `take` gives the answer.

        The connection must have been begun.
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

    def answered(self, opaques: AbstractSet[int]) -> AbstractSet[int]:
        """Return those of `opaques` for which `take` would return something."""
        return self._answers.keys() & opaques

    def abandon(self, opaque: int) -> None:
        """Stop waiting for an answer; if it comes later, it is ignored."""
        self._awaited.discard(opaque)
        self._answers.pop(opaque, None)

    def close(self) -> None:
        """Close the socket; what is still awaited is answered with an error."""
        self.give_up("before it was closed")

    def give_up(self, when: str) -> None:
        """Close a connection that did not answer "in time", say; the next request dials anew."""
        self._fail(OutcomeUnknown(f"no answer from {self.address} {when}"))

    def fileno(self) -> int:
        """Return the socket's descriptor, -1 when closed."""
        return self._socket.fileno() if self._socket else -1

    @property
    def interest(self) -> int:
        """What to poll for."""
        if self._phase is _Phase.CONNECTING:
            return select.POLLOUT
        if self._phase is _Phase.HANDSHAKING:
            return select.POLLOUT if self._handshake_wants_write else select.POLLIN
        return select.POLLIN | (select.POLLOUT if self._outgoing else 0)

    def advance(self) -> None:
        """Connect, write and read as far as goes without blocking."""
        try:
            if self._phase is _Phase.CONNECTING:
                self._finish_connecting()
            if self._phase is _Phase.HANDSHAKING:
                self._shake_hands()
            if self._phase is _Phase.OPEN:
                self._write()
                self._read()
        except RocketMQError as error:
            self._fail(error)
        except OSError as error:
            self._fail(OutcomeUnknown(f"connection to {self.address} lost: {error}"))

    # Making a connection.

    def _dial(self, reason: object) -> None:
        """Begin with the next address of the host; `reason` is why the one before did not do."""
        while self._candidates:
            family, kind, protocol, _, place = self._candidates.popleft()
            try:
                candidate = socket.socket(family, kind, protocol)
            except OSError as error:
                reason = error
                continue
            candidate.setblocking(False)
            candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            result = candidate.connect_ex(place)
            if result in (0, errno.EINPROGRESS):
                self._socket, self._phase = candidate, _Phase.CONNECTING
                return
            candidate.close()
            reason = os.strerror(result)
        self._phase = _Phase.CONNECTING  # it failed while connecting: nothing of what is queued was sent
        self._fail(ConnectFailed(f"cannot connect to {self.address}: {reason}"))

    def _finish_connecting(self) -> None:
        plain = self._socket
        if plain is None:
            return
        result = plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            if result:
                raise OSError(result, os.strerror(result))
            plain.getpeername()  # a peer that hung up at once leaves no error, and no peer either
        except OSError as error:
            plain.close()
            self._dial(error.strerror or error)
            return
        if self._tls is None:
            self._opened()
            return
        host = self.address.rpartition(":")[0].strip("[]")
        self._socket = self._tls.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        self._phase = _Phase.HANDSHAKING

    def _shake_hands(self) -> None:
        try:
            self._socket.do_handshake()  # type: ignore[union-attr]  # only a TLS socket is in this phase
        except self._not_now as error:
            self._handshake_wants_write = type(error).__name__ == "SSLWantWriteError"
        except OSError as error:
            raise ConnectFailed(f"no TLS with {self.address}: {error}") from error
        else:
            self._opened()

    def _opened(self) -> None:
        self._phase = _Phase.OPEN
        self._candidates.clear()
        self._decoder = FrameDecoder()
        self.times_opened += 1
        self._touch()

    # Using it.

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
        for _ in range(_READS_AT_ONCE):
            if self._socket is None:
                return
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
                if self._credentials and frame.remark:
                    frame = replace(frame, remark=self._credentials.conceal(frame.remark))
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
        if self._phase in (_Phase.CONNECTING, _Phase.HANDSHAKING) and not isinstance(error, ConnectFailed):
            error = ConnectFailed(f"cannot connect to {self.address}: {error}")
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._phase = _Phase.CLOSED
        self._failure = error
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
        return self._phase is _Phase.CLOSED
