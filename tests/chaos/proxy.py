"""A TCP proxy between the bridge and a server, that cuts, drips, stalls and refuses when it is told to.

In a process of its own: one byte at a time is a system call each, and the load must keep its pace meanwhile.
"""

import contextlib
import multiprocessing
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from enum import IntEnum
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from types import TracebackType
from typing import Self

from devstack.ports import free_port

__all__ = ["Mode", "Proxy", "Rewrite"]

_HOST = "127.0.0.1"
_CHUNK_BYTES = 64 * 1024
# A connection that is to be cut passes so many bytes more at most: some end in the handshake, some in the middle of a batch.
_CUT_AFTER_BYTES = 6_000
_POLL_S = 0.02

Rewrite = tuple[bytes, bytes]


class Mode(IntEnum):
    PASS = 0
    CUT = 1  # end each connection within a frame, after a random number of bytes
    DRIP = 2  # one byte at a time
    STALL = 3  # keep connections open and pass nothing
    REFUSE = 4  # end every connection at once


class Proxy:
    """Listens on a port of its own and passes what comes to `target_port`, as a context manager.

    Args:
        target_port: on this machine.
        rewrite: text to replace, by text of the same length, in frames of RocketMQ's remoting protocol that the server sends: a name
            server's answers say where brokers are, and must lead the bridge to the next proxy.
    """

    def __init__(self, target_port: int, rewrite: Rewrite | None = None) -> None:
        self.port = free_port()
        context = multiprocessing.get_context("spawn")  # this process has threads, which a fork would not survive
        self._mode: Synchronized[int] = context.Value("i", Mode.PASS)
        self._listening = context.Event()
        arguments = (self.port, target_port, rewrite, self._mode, self._listening, os.getpid())
        self._process = context.Process(target=_serve, args=arguments, daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        if not self._listening.wait(10):
            raise TimeoutError("the proxy does not listen after 10 s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()

    def set(self, mode: Mode) -> None:
        """Treat all connections so from now on, those that are open as well."""
        self._mode.value = mode


def _serve(
    port: int, target_port: int, rewrite: Rewrite | None, mode: "Synchronized[int]", listening: Event, parent: int
) -> None:
    with socket.create_server((_HOST, port)) as server:
        server.settimeout(1.0)
        listening.set()
        while os.getppid() == parent:
            with contextlib.suppress(TimeoutError):
                client, _ = server.accept()
                client.settimeout(None)
                threading.Thread(target=_connect, args=(client, target_port, rewrite, mode), daemon=True).start()


def _connect(client: socket.socket, target_port: int, rewrite: Rewrite | None, mode: "Synchronized[int]") -> None:
    try:
        target = socket.create_connection((_HOST, target_port), timeout=5)
    except OSError:  # the server is down, and the client is to see that
        client.close()
        return
    target.settimeout(None)
    for each in (client, target):
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    up = threading.Thread(target=_pump, args=(client, target, None, mode), daemon=True)
    up.start()
    _pump(target, client, rewrite, mode)
    up.join()
    client.close()
    target.close()


def _pump(source: socket.socket, sink: socket.socket, rewrite: Rewrite | None, mode: "Synchronized[int]") -> None:
    """Pass what comes from `source`, until one side or the mode ends the connection."""
    left: int | None = None  # bytes until the cut
    try:
        for chunk in _frames(source, rewrite) if rewrite else _chunks(source):
            while mode.value == Mode.STALL:
                time.sleep(_POLL_S)
            if mode.value == Mode.REFUSE:
                break
            if mode.value == Mode.CUT:
                left = random.randrange(_CUT_AFTER_BYTES) if left is None else left
                if left < len(chunk):
                    # Within the chunk, whatever is left: what was written at once is a frame mostly.
                    sink.sendall(chunk[: min(left, len(chunk) - 1)])
                    break
                left -= len(chunk)
            else:
                left = None
            at = 0
            while at < len(chunk) and mode.value == Mode.DRIP:
                sink.sendall(chunk[at : at + 1])
                at += 1
            sink.sendall(chunk[at:])
    except OSError:
        pass  # the other direction, or a peer, ended the connection
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _chunks(source: socket.socket) -> Iterator[bytes]:
    while chunk := source.recv(_CHUNK_BYTES):
        yield chunk


def _frames(source: socket.socket, rewrite: Rewrite) -> Iterator[bytes]:
    with source.makefile("rb") as stream:
        while len(head := stream.read(4)) == 4:
            yield (head + stream.read(int.from_bytes(head, "big"))).replace(*rewrite)
