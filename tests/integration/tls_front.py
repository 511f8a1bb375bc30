"""A TLS server of our own in front of a broker: it asks for a client's certificate, notes the protocol that was agreed on (ALPN) and passes
everything on. mosquitto knows no ALPN; AWS IoT Core tells by it on port 443 that MQTT is meant.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.certificates import Identity

__all__ = ["TlsFront", "tls_front"]


@dataclass
class TlsFront:
    """Where it listens, and of each connection the protocol agreed on and the name that the client asked for (SNI)."""

    port: int
    agreed: list[tuple[str | None, str | None]] = field(default_factory=list)


@contextlib.contextmanager
def tls_front(port: int, server: Identity, authority: Path, protocols: list[str]) -> Iterator[TlsFront]:
    """Run one in front of what listens on `port`; it hangs up on who asks for none of `protocols`, as AWS does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate_path, server.key_path)
    context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(protocols)
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    listener = socket.create_server(("127.0.0.1", 0))
    front = TlsFront(listener.getsockname()[1])

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=carry, args=(plain,), daemon=True).start()

    def carry(plain: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as client:
            agreed = client.selected_alpn_protocol()
            front.agreed.append((agreed, names[-1] if names else None))
            if agreed is None:
                return
            with socket.create_connection(("127.0.0.1", port)) as broker:
                back = threading.Thread(target=pump, args=(broker, client), daemon=True)
                back.start()
                pump(client, broker)
                back.join(5)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield front
    finally:
        listener.close()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass on what comes until either side ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
