"""Ports that nobody uses, for servers that are about to start."""

import random
import socket
from pathlib import Path

_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LINUX_EPHEMERAL_START = 32768
_LOWEST = 12000  # above the well-known ports of the servers themselves: 1883, 9876, 10911
_ATTEMPTS = 200

_given: set[int] = set()  # not bound yet, perhaps, but promised


def port_is_free(port: int) -> bool:
    """Tell whether a server could listen on the port, on every interface: RocketMQ knows no other way."""
    with socket.socket() as probe:
        # As servers do: connections of the previous server that still linger are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port that is free now and below the range from which outgoing connections take theirs."""
    return _pick(offsets=(0,))


def free_broker_port() -> int:
    """Return a listenPort for a RocketMQ broker: it opens the one two below and the one above, too."""
    return _pick(offsets=(-2, 0, 1))


def _pick(offsets: tuple[int, ...]) -> int:
    # Random and not ascending: two test runs on one machine must not go for the same ports.
    for _ in range(_ATTEMPTS):
        port = random.randrange(_LOWEST, _ephemeral_start() - 2)  # noqa: S311 - nothing to guess here
        wanted = {port + offset for offset in offsets}
        if wanted.isdisjoint(_given) and all(map(port_is_free, wanted)):
            _given.update(wanted)
            return port
    raise OSError(f"no free port found in {_ATTEMPTS} attempts")


def _ephemeral_start() -> int:
    try:
        start = int(_EPHEMERAL_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _LINUX_EPHEMERAL_START
    return start if start > _LOWEST + 1000 else 65000
