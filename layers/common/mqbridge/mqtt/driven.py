"""A paho client that is driven by whoever waits for its messages, without a thread of its own, at a fraction of the cost.

paho makes the connection and subscribes. What happens for every message is short-cut: a socket in between reads ahead and gathers what
is written; PUBLISH packets and their acknowledgements are encoded and decoded by `packets`. (Measured: 180 us of CPU a message with
paho's own loop in a thread of its own; its system calls for each packet and acknowledgement handed the interpreter's lock to and fro.)

Who has no room for another message stops the reading: the socket's buffers fill up, and TCP slows the broker down. So the connection is
kept alive here too, since paho takes a broker for dead whose PINGRESP waits behind messages that are not read.
"""

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import LogLevel, MQTTErrorCode, MQTTProtocolVersion

from mqbridge.mqtt.packets import (
    MalformedPacket,
    Publish,
    decode_acknowledgement,
    decode_publish,
    encode_publish,
    frame_length,
)

__all__ = ["BufferedSocket", "DrivenClient", "KeepAlive"]

_READ_BYTES = 256 * 1024
# A broker that never pauses must not keep the worker from sending on what has come.
_PACKETS_AT_ONCE = 2_000

_PUBLISH, _PUBACK, _PUBREC, _PUBREL, _PUBCOMP = 0x30, 0x40, 0x50, 0x62, 0x70
_PINGREQ = b"\xc0\x00"
_FAILURE = 0x80
# Gathered bytes beyond this are written before more is gathered.
_WRITE_BYTES = 256 * 1024
_OK = MQTTErrorCode.MQTT_ERR_SUCCESS
# The broker has closed its side. Only Linux can tell that without reading; elsewhere it shows once reading goes on.
_CLOSED_BY_PEER = getattr(select, "POLLRDHUP", 0)


class KeepAlive:
    """When to send PINGREQ, and when silence means that the broker is gone. Times are passed in.

    Half the keep-alive is left as a margin for a caller who drives the connection late; a broker waits one and a half times as long.
    """

    def __init__(self, keep_alive_s: float, now: float) -> None:
        self._keep_alive_s = keep_alive_s
        self._ask_at = now + keep_alive_s / 2
        self._asked_at: float | None = now  # CONNECT is a question, too

    def is_due(self, now: float) -> bool:
        """Tell whether a PINGREQ is to be sent. A keep-alive of 0 means never (MQTT 5, 3.1.2.10)."""
        return self._keep_alive_s > 0 and now >= self._ask_at

    def asked(self, now: float) -> None:
        """Note that a PINGREQ was sent."""
        self._ask_at = now + self._keep_alive_s / 2
        if self._asked_at is None:
            self._asked_at = now

    def heard(self) -> None:
        """Note that the broker sent something, or that its answer cannot be seen because nothing is read."""
        self._asked_at = None

    def is_lost(self, now: float) -> bool:
        """Tell whether the broker has owed an answer for too long."""
        return self._keep_alive_s > 0 and self._asked_at is not None and now - self._asked_at >= self._keep_alive_s


class BufferedSocket:
    """What paho uses of a socket. Reads are served from a buffer that large reads fill; writes are gathered until `flush`."""

    def __init__(self, plain: Any) -> None:
        self._plain = plain
        self._incoming = b""
        self._at = 0
        self._pieces: list[
            bytes
        ] = []  # of a packet that does not fit into one read; joined once, or it would be copied at every read
        self._missing_bytes = 0
        self.linger_s = 0.0
        self._outgoing = bytearray()
        self._not_now = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

    def fill(self) -> None:
        """Read what the socket has.

        Raises:
            BlockingIOError, SSLWantReadError: it has nothing yet.
            OSError: the connection is lost; also when the peer closed it.
        """
        data = self._plain.recv(_READ_BYTES)
        if not data:
            raise ConnectionResetError("closed by the broker")
        self._pieces.append(data)
        self._missing_bytes -= len(data)
        if self._missing_bytes <= 0:
            self._incoming = b"".join((self._incoming[self._at :], *self._pieces))
            self._at = 0
            self._pieces.clear()

    def next_packet(self) -> tuple[int, int, int] | None:
        """Return (first byte, begin behind the fixed header, end) of the packet that is next, if all of it is here."""
        if self._at >= len(self._incoming):
            return None
        begin, end = frame_length(self._incoming, self._at, len(self._incoming))
        if begin and end <= len(self._incoming):
            return self._incoming[self._at], begin, end
        if not self._pieces:
            self._missing_bytes = end - len(self._incoming)
        return None

    def take(self, begin: int, end: int) -> bytes:
        """Return bytes of the buffer and go on behind them."""
        self._at = end
        return self._incoming[begin:end]

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes of the buffer, for paho; it reads only when a whole packet is there."""
        data = self._incoming[self._at : self._at + size]
        self._at += len(data)
        if not data:
            raise BlockingIOError
        return data

    def send(self, data: bytes) -> int:
        """Take bytes for the next `flush`."""
        self._outgoing += data
        return len(data)

    @property
    def unsent_bytes(self) -> int:
        """How much waits to be written."""
        return len(self._outgoing)

    def flush(self) -> None:
        """Write what was gathered, as much as goes without blocking."""
        while self._outgoing:
            try:
                sent = self._plain.send(self._outgoing)
            except self._not_now:
                return
            del self._outgoing[:sent]

    def wait(self, timeout_s: float) -> bool:
        """Wait for something to read, and until then write what waits; tell whether there is something."""
        held = getattr(self._plain, "pending", None)  # TLS may hold bytes that the descriptor does not show
        if held is not None and held():
            return True
        poll = select.poll()
        poll.register(self._plain.fileno(), select.POLLIN | (select.POLLOUT if self._outgoing else 0))
        return any(event & ~select.POLLOUT for _, event in poll.poll(timeout_s * 1000))

    def wait_without_reading(self, timeout_s: float) -> None:
        """Wait, whatever there is to read, and return early only if something that waits can be written.

        Raises:
            OSError: the connection is lost; also when the peer closed it, though something may be left to read.
        """
        poll = select.poll()
        poll.register(self._plain.fileno(), _CLOSED_BY_PEER | (select.POLLOUT if self._outgoing else 0))
        if any(event & ~select.POLLOUT for _, event in poll.poll(timeout_s * 1000)):
            raise ConnectionResetError("closed by the broker")

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return int(self._plain.fileno())

    def setblocking(self, flag: bool) -> None:
        """As the socket's."""
        self._plain.setblocking(flag)

    def close(self) -> None:
        """Close the socket; what was gathered goes out first, if it can, and up to `linger_s` are given to the peer to take it."""
        with contextlib.suppress(OSError):  # the connection is lost, which is why it is being closed
            self.flush()
            if self.linger_s:
                self._linger(time.monotonic() + self.linger_s)
        self._plain.close()

    def _linger(self, deadline: float) -> None:
        """Write what is left, say that it was all, and read on until the peer closes: then it has read everything.

        Closing a socket with unread data resets the connection, and what was written last is lost with it.
        """
        is_all_said = False
        while (remaining_s := deadline - time.monotonic()) > 0:
            if not self._outgoing and not is_all_said:
                self._plain.shutdown(socket.SHUT_WR)
                is_all_said = True
            is_readable = self.wait(remaining_s)
            self.flush()
            with contextlib.suppress(*self._not_now):
                if is_readable and not self._plain.recv(_READ_BYTES):
                    return


class DrivenClient(Client):
    """paho's client on a `BufferedSocket`. Call `drive` again and again; not for several threads at once.

    `on_received` gets every PUBLISH; those of QoS 1 and 2 are to be acknowledged by `acknowledge`. While `has_room_for` says no to the
    PUBLISH that is next, nothing is read; it is asked again by every `drive`. `on_acknowledged` gets packet identifier and reason code
    of every acknowledgement of what was sent by `send_publish`. paho's `on_message` and `loop` functions are not used.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.on_received: Callable[[Publish], None] = lambda _publish: None
        self.has_room_for: Callable[[Publish], bool] = lambda _publish: True
        self.on_acknowledged: Callable[[int, int], None] = lambda _packet_id, _reason: None
        self.clock = time.monotonic
        # With an "external event loop" paho queues packets and leaves the writing to us.
        self.on_socket_register_write = _leave_it_to_drive
        self._is_five = options.get("protocol") == MQTTProtocolVersion.MQTTv5
        self._waiting: Publish | None = None  # for room
        self._unreleased: set[int] = set()  # packet identifiers of QoS 2 between our PUBREC and the broker's PUBREL
        self._keep_alive = KeepAlive(0, 0.0)

    def _create_socket(self) -> Any:  # paho has no public way to give it a socket
        connection = BufferedSocket(super()._create_socket())
        self._waiting = None
        self._keep_alive = KeepAlive(self.keepalive, self.clock())
        return connection

    def drive(self, timeout_s: float) -> bool:
        """Write what waits, wait up to `timeout_s` for packets, and handle them; tell whether there is a connection."""
        connection: Any = self.socket()
        if connection is None or not self.write_out():
            return False
        try:
            if self._waiting is not None and not self.has_room_for(self._waiting):
                connection.wait_without_reading(timeout_s)
            else:
                if self._waiting is None and connection.next_packet() is None:
                    self._read(connection, timeout_s)
                if not self._handle_packets(connection):
                    return False
        except TimeoutError as error:
            return self._lost(error, MQTTErrorCode.MQTT_ERR_KEEPALIVE)
        except (OSError, MalformedPacket) as error:
            return self._lost(error, MQTTErrorCode.MQTT_ERR_CONN_LOST)
        now = self.clock()
        if self._keep_alive.is_due(now):
            connection.send(_PINGREQ)
            self._keep_alive.asked(now)
        if self._waiting is not None:
            self._keep_alive.heard()  # the answer is behind what is not read
        return self.write_out()

    def acknowledge(self, packet_id: int, qos: int) -> None:
        """Queue the acknowledgement of a PUBLISH; it goes out with the next `write_out` or `drive`.

        At QoS 2 that is PUBREC: the broker keeps the message until it has that, so a crash before it loses nothing.
        """
        if qos == 2:
            self._unreleased.add(packet_id)
        connection: Any = self.socket()
        if connection is not None:  # else the broker sends the message once more
            connection.send(_acknowledgement(_PUBREC if qos == 2 else _PUBACK, packet_id))

    def forget_session(self) -> None:
        """Take what the broker sends for new; to be called when it says that it has no session of this client."""
        self._unreleased.clear()

    def leave(self, timeout_s: float) -> None:
        """Disconnect once the broker has taken all that was written, or after `timeout_s`."""
        connection: Any = self.socket()
        if connection is not None:
            connection.linger_s = timeout_s
        self.disconnect()
        self.write_out()  # paho closes the socket behind DISCONNECT

    def send_publish(self, publish: Publish) -> None:
        """Queue a PUBLISH whose packet identifier the caller has chosen; it goes out with the next `write_out` or `drive`.

        Raises:
            ValueError: it cannot be encoded; see `encode_publish`.
        """
        packet = encode_publish(publish, is_five=self._is_five)
        connection: Any = self.socket()
        if connection is not None:  # else the caller sees that the connection is lost
            connection.send(packet)
            if connection.unsent_bytes > _WRITE_BYTES:
                self.write_out()

    @property
    def has_unsent(self) -> bool:
        """Whether something waits to be written."""
        connection: Any = self.socket()
        return self.want_write() or (connection is not None and connection.unsent_bytes > 0)

    def write_out(self) -> bool:
        """Write everything that waits, as far as goes without blocking; tell whether there still is a connection."""
        if self.want_write() and self.loop_write() != _OK:
            return False
        connection: Any = self.socket()
        if connection is None:
            return False
        with contextlib.suppress(OSError):  # the next read meets the same, and handles it
            connection.flush()
        return True

    def _read(self, connection: BufferedSocket, timeout_s: float) -> None:
        if connection.wait(timeout_s):
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
                connection.fill()
                self._keep_alive.heard()
        elif self._keep_alive.is_lost(self.clock()):
            raise TimeoutError("no answer to PINGREQ")

    def _handle_packets(self, connection: BufferedSocket) -> bool:
        """Handle what is here, up to a PUBLISH for which there is no room; tell whether there still is a connection."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._receive(connection, waiting)
        for _ in range(_PACKETS_AT_ONCE):
            packet = None if self._waiting is not None else connection.next_packet()
            if packet is None:
                return True
            first, begin, end = packet
            if first & 0xF0 == _PUBLISH:
                publish = decode_publish(first & 0x0F, connection.take(begin, end), is_five=self._is_five)
                self._receive(connection, publish)
            elif first in (_PUBACK, _PUBREC, _PUBREL, _PUBCOMP):
                self._acknowledged(connection, first, *decode_acknowledgement(connection.take(begin, end)))
            elif self.loop_read() != _OK or self.socket() is None:
                return False
        return True

    def _receive(self, connection: BufferedSocket, publish: Publish) -> None:
        if publish.qos == 2 and publish.packet_id in self._unreleased:
            connection.send(_acknowledgement(_PUBREC, publish.packet_id))  # ours was lost with an earlier connection
        elif self.has_room_for(publish):
            self.on_received(publish)
        else:
            self._waiting = publish

    def _acknowledged(self, connection: BufferedSocket, kind: int, packet_id: int, reason: int) -> None:
        if kind == _PUBREL:
            self._unreleased.discard(packet_id)
            connection.send(_acknowledgement(_PUBCOMP, packet_id))
        elif kind == _PUBREC and reason < _FAILURE:
            connection.send(_acknowledgement(_PUBREL, packet_id))
        else:
            self.on_acknowledged(packet_id, reason)

    def _lost(self, error: Exception, code: MQTTErrorCode) -> bool:
        # As paho does when it meets the same while reading: closes the socket, calls on_disconnect.
        self._easy_log(LogLevel.MQTT_LOG_ERR, "connection lost: %s", error)
        self._loop_rc_handle(code)
        return False


def _acknowledgement(kind: int, packet_id: int) -> bytes:
    return bytes((kind, 2, packet_id >> 8, packet_id & 0xFF))


def _leave_it_to_drive(client: Client, userdata: Any, connection: Any) -> None:
    del client, userdata, connection
