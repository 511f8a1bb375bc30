"""A real mosquitto."""

import contextlib
import os
import pwd
import signal
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from .cache import program
from .errors import StartError
from .ports import free_port, port_is_free
from .processes import ManagedProcess, wait_until

_HOST = "127.0.0.1"
# MQTT 3.1.1 CONNECT: clean session, keep alive 10 s, empty client id. Any CONNACK will do, a refusal too: the caller
# may have forbidden anonymous clients.
_CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00"
_CONNACK = b"\x20\x02"
_DISCONNECT = b"\xe0\x00"

_CONFIG = """\
listener {port} {host}
allow_anonymous true
{user}
persistence true
persistence_location {directory}/
# A test that outruns its subscriber must not lose messages: mosquitto drops silently what exceeds a limit.
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages 0
# Otherwise small packets may wait 40 ms for the acknowledgement of the previous one.
set_tcp_nodelay true
sys_interval 0
log_dest stderr
log_type error
log_type warning
log_type notice
log_type information
log_timestamp_format %Y-%m-%dT%H:%M:%S
"""


class Mosquitto:
    """A mosquitto of one's own, as a context manager or with `start` and `stop`.

    A restart keeps port and directory, and so the persistent sessions. `kill` loses what mosquitto had not written yet,
    and it writes only when it is stopped or asked to (`save`).

    Args:
        directory: Where configuration, log and sessions go; made if it is missing.
        port: Chosen if it is not given.
        extra_config: More lines for mosquitto.conf; they come last and win.
        detached: Let it outlive this process; see `ManagedProcess`.
    """

    def __init__(
        self, directory: Path, *, port: int | None = None, extra_config: str = "", detached: bool = False
    ) -> None:
        self.directory = directory.resolve()
        self.port = free_port() if port is None else port
        self.url = f"mqtt://{_HOST}:{self.port}"
        self.log_path = self.directory / "mosquitto.log"
        self._extra_config = extra_config
        config_path = self._config_path = self.directory / "mosquitto.conf"
        command = (program("mosquitto"), "-c", str(config_path))
        self._process = ManagedProcess("mosquitto", command, log_path=self.log_path, detached=detached)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs or is paused."""
        return self._process.alive

    def start(self) -> None:
        """Start it and wait until it answers a CONNECT."""
        if not port_is_free(self.port):
            raise StartError(f"mosquitto: port {self.port} is in use")
        self.directory.mkdir(parents=True, exist_ok=True)
        config = _CONFIG.format(port=self.port, host=_HOST, directory=self.directory, user=_user_line())
        self._config_path.write_text(config + self._extra_config + "\n", encoding="utf-8")
        self._process.start(self._answers, timeout_s=10.0)

    def stop(self) -> None:
        """End it in good order: it writes its sessions."""
        self._process.stop()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()

    def pause(self) -> None:
        """Let it hang: connections stay open and silent."""
        self._process.pause()

    def resume(self) -> None:
        """Let it run on after `pause`."""
        self._process.resume()

    def save(self) -> None:
        """Have it write sessions, queued and retained messages to disk now."""
        database = self.directory / "mosquitto.db"

        def version() -> tuple[int, int] | None:
            with contextlib.suppress(FileNotFoundError):
                status = database.stat()
                return status.st_ino, status.st_mtime_ns
            return None

        before = version()
        os.kill(self.pid, signal.SIGUSR1)
        # It writes a new file and renames it over the old one.
        if not wait_until(lambda: version() not in (None, before), timeout_s=10.0):
            raise StartError(f"mosquitto: did not write {database} within 10 s")

    def _answers(self) -> bool:
        try:
            with socket.create_connection((_HOST, self.port), timeout=2.0) as connection:
                connection.sendall(_CONNECT)
                answer = connection.recv(4)
                connection.sendall(_DISCONNECT)
        except OSError:
            return False
        return answer.startswith(_CONNACK)


def _user_line() -> str:
    """Keep mosquitto from changing to the user `mosquitto`, who cannot write the directory, when we are root."""
    try:
        return f"user {pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:  # a container's number without a name; not root, so mosquitto stays what it is
        return ""
