"""A real RocketMQ: one name server and one broker."""

import contextlib
import re
import ssl
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from . import remoting
from .errors import CommandError, DevstackError, RefusedError, StartError
from .jvm import QUICK_START, SHORT_LIVED, java_command
from .ports import free_broker_port, free_port, port_is_free
from .processes import ManagedProcess, wait_until
from .remoting import Credentials

_HOST = "127.0.0.1"
_BOOTED = "boot success"  # NamesrvStartup and BrokerStartup print it when they listen
_BOOT_TIMEOUT_S = 60.0  # 2 s on an idle machine
_ROUTE_TIMEOUT_S = 15.0
_READ_AND_WRITE = 6  # PermName

# By default every server makes an RSA key and certificate when it starts, for TLS on the same port: that is half of the
# start-up time. Tests of TLS append their own -Dtls.server.mode.
_NO_TLS = "-Dtls.server.mode=disabled"
NAME_SERVER_JVM_OPTIONS = (*QUICK_START, "-XX:TieredStopAtLevel=1", "-Xms64m", "-Xmx128m", _NO_TLS)
BROKER_JVM_OPTIONS = (
    *QUICK_START,
    "-Xms256m",
    "-Xmx512m",
    "-XX:MaxDirectMemorySize=256m",
    # DefaultMessageStore: above these shares of the whole disk a broker refuses messages or deletes files.
    "-Drocketmq.broker.diskSpaceWarningLevelRatio=0.99",
    "-Drocketmq.broker.diskSpaceCleanForciblyRatio=0.98",
    _NO_TLS,
)

# For tests in which being slow is no failure: by default a broker answers "busy" to what waited 200 ms, as it does when it has
# just started on a machine that has other things to do.
PATIENT_BROKER = {"waitTimeMillsInSendQueue": "5000"}

_LOGBACK = """\
<configuration>
  <appender name="file" class="ch.qos.logback.core.FileAppender">
    <file>{path}</file>
    <encoder><pattern>%d{{yyyy-MM-dd'T'HH:mm:ss.SSS}} %-5level %logger{{0}} - %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="file"/></root>
</configuration>
"""


class Server:
    """The name server or the broker, to be stopped, killed, paused and started again on the same port and store."""

    def __init__(
        self, process: ManagedProcess, *, port: int, opens: Sequence[int], registered: Callable[[], None] | None = None
    ) -> None:
        self.address = f"{_HOST}:{port}"
        self.log_path = process.log_path
        self._process = process
        self._opens = opens
        self._registered = registered

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs or is paused."""
        return self._process.alive

    def start(self) -> None:
        """Start it and wait until it serves; a broker also until the name server, if that is alive, knows it."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start it without waiting."""
        taken = [port for port in self._opens if not port_is_free(port)]
        if taken:
            raise StartError(f"{self._process.name}: port {taken[0]} is in use")
        self._process.launch()

    def wait_ready(self) -> None:
        """Wait as `start` does, after `launch`."""
        self._process.wait_ready(lambda: _BOOTED in self._process.output, timeout_s=_BOOT_TIMEOUT_S)
        if self._registered is not None:
            self._registered()

    def stop(self) -> None:
        """End it in good order: RocketMQ takes 3 s (name server) or up to 7 s (broker) for that, sleeping mostly."""
        self._process.stop(grace_s=30.0)

    def terminate(self) -> None:
        """Ask it to end and do not wait."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once. A broker loses no acknowledged message: the system still writes its mapped files."""
        self._process.kill()

    def pause(self) -> None:
        """Let it hang: connections stay open and silent."""
        self._process.pause()

    def resume(self) -> None:
        """Let it run on after `pause`."""
        self._process.resume()


class RocketMQ:
    """A RocketMQ of one's own, as a context manager or with `start` and `stop`.

    Leaving the context kills both servers, since an orderly end takes seconds and gains nothing; the store can be
    started again all the same. A name server that was restarted knows no topics until the broker registers: within
    10 s by itself, at once with `register`.

    Args:
        directory: Where configuration, logs and store go; made if it is missing.
        name_server_port: Chosen if it is not given.
        broker_port: Chosen if it is not given; the ports two below and one above must be free as well.
        broker_config: Keys of broker.conf to add or replace.
        name_server_jvm_options: To add to the default, use `(*NAME_SERVER_JVM_OPTIONS, ...)`; the last one wins.
        broker_jvm_options: Likewise with `BROKER_JVM_OPTIONS`.
        credentials: With which `create_topic` and `register` sign, for a broker with aclEnable.
            plain_acl.yml belongs in `home / "conf"`, before `start`.
        tls: With which `create_topic` and `register` connect, for servers with -Dtls.server.mode=enforcing.
        version: Of RocketMQ, if not the usual one; `setup.ensure(version)` must have fetched it.
        detached: Let both outlive this process; see `ManagedProcess`.
    """

    broker_name = "broker-a"
    cluster_name = "DefaultCluster"

    def __init__(
        self,
        directory: Path,
        *,
        name_server_port: int | None = None,
        broker_port: int | None = None,
        broker_config: Mapping[str, str] | None = None,
        name_server_jvm_options: Sequence[str] = NAME_SERVER_JVM_OPTIONS,
        broker_jvm_options: Sequence[str] = BROKER_JVM_OPTIONS,
        credentials: Credentials | None = None,
        tls: ssl.SSLContext | None = None,
        version: str | None = None,
        detached: bool = False,
    ) -> None:
        self.directory = directory.resolve()
        self.home = self.directory / "home"  # ROCKETMQ_HOME
        self._credentials = credentials
        self._tls = tls
        self._version = version
        name_server_port = free_port() if name_server_port is None else name_server_port
        broker_port = free_broker_port() if broker_port is None else broker_port

        name_server_config = self.directory / "namesrv.conf"
        broker_config_path = self.directory / "broker.conf"
        config = self._broker_config(f"{_HOST}:{name_server_port}", broker_port) | dict(broker_config or {})
        self._files = {
            name_server_config: f"listenPort={name_server_port}\n",
            broker_config_path: "".join(f"{key}={value}\n" for key, value in config.items()),
            self._logback_path("tools"): _LOGBACK.format(path=self.directory / "tools.log"),
        }

        def server(name: str, main: str, config_path: Path, options: Sequence[str]) -> ManagedProcess:
            log_path = self.directory / f"{name}.log"
            self._files[self._logback_path(name)] = _LOGBACK.format(path=log_path)
            command = java_command(main, "-c", str(config_path), home=self.directory, options=options, version=version)
            environment = {"ROCKETMQ_HOME": str(self.home)}
            return ManagedProcess(name, command, log_path=log_path, environment=environment, detached=detached)

        self.namesrv = Server(
            server(
                "namesrv",
                "org.apache.rocketmq.namesrv.NamesrvStartup",
                name_server_config,
                name_server_jvm_options,
            ),
            port=name_server_port,
            opens=(name_server_port,),
        )
        self.broker = Server(
            server("broker", "org.apache.rocketmq.broker.BrokerStartup", broker_config_path, broker_jvm_options),
            port=broker_port,
            opens=(broker_port - 2, broker_port, broker_port + 1),
            registered=self._ensure_registered,
        )
        self.name_server = self.namesrv.address
        self.broker_address = self.broker.address

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start both and wait until a topic can be created."""
        if self.namesrv.alive or self.broker.alive:
            raise StartError("RocketMQ: one of its servers is running already")
        self.prepare()
        try:
            self.namesrv.launch()
            self.broker.launch()  # it does not mind a name server that comes later; see _ensure_registered
            self.namesrv.wait_ready()
            self.broker.wait_ready()
        except BaseException:
            self.kill()
            raise

    def prepare(self) -> None:
        """Write the configuration, as `start` does, for who wants one of the two servers only."""
        for path, text in self._files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def stop(self) -> None:
        """End both in good order; takes up to 7 s."""
        self.namesrv.terminate()
        self.broker.stop()
        self.namesrv.stop()

    def kill(self) -> None:
        """End both at once."""
        self.broker.kill()
        self.namesrv.kill()

    def create_topic(self, *names: str, queues: int = 4) -> None:
        """Create topics, or change their number of queues, and wait until the name server has routes for them."""
        for name in names:
            fields = {
                "topic": name,
                "defaultTopic": "TBW102",
                "readQueueNums": str(queues),
                "writeQueueNums": str(queues),
                "perm": str(_READ_AND_WRITE),
                "topicFilterType": "SINGLE_TAG",
                "topicSysFlag": "0",
                "order": "false",
            }
            self._call_broker(remoting.UPDATE_AND_CREATE_TOPIC, fields)
        # The broker answers first and registers the topic afterwards.
        for name in names:
            if not wait_until(partial(self._has_route, name), timeout_s=_ROUTE_TIMEOUT_S):
                raise DevstackError(f"no route for topic {name} after {_ROUTE_TIMEOUT_S:g} s")

    def register(self) -> None:
        """Have the broker register all its topics with the name server now."""
        # AdminBrokerProcessor.updateBrokerConfig: setting the permission, even to what it was, is what registers.
        self._call_broker(remoting.UPDATE_BROKER_CONFIG, body=f"brokerPermission={_READ_AND_WRITE}\n".encode())

    def admin(self, *arguments: str, timeout: float = 30.0) -> str:
        """Run a command of mqadmin and return what it prints; the name server's address is added.

        Example: `admin("topicStatus", "-t", "orders")`.

        Raises:
            CommandError: the command failed or did not end in time.
        """
        command = java_command(
            "org.apache.rocketmq.tools.command.MQAdminStartup",
            *arguments,
            "-n",
            self.name_server,
            home=self.directory,
            options=(*SHORT_LIVED, f"-Drocketmq.home.dir={self.home}"),
            version=self._version,
        )
        try:
            done = subprocess.run(  # noqa: S603
                command, check=False, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired as error:
            raise CommandError(f"mqadmin {' '.join(arguments)}: not finished after {timeout:g} s") from error
        # MQAdminStartup ends with 0 whatever happens; it prints the stack trace, or that there is no such command.
        failed = re.search(r"^\S*(Exception|Error)\b|^The sub command \S+ not exist", done.stderr + done.stdout, re.M)
        if done.returncode != 0 or failed:
            raise CommandError(f"mqadmin {' '.join(arguments)}:\n{done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _ensure_registered(self) -> None:
        """Wait until the name server knows the broker.

        A broker registers once before it reports success, and then every 10 s. If the name server was not up that
        early, we need not wait: it can be told to register again.
        """
        if not self.namesrv.alive:
            return
        try:
            if not self._is_registered():
                with contextlib.suppress(RefusedError):  # by ACL, if we have no credentials: then it takes up to 10 s
                    self.register()
            if wait_until(self._is_registered, timeout_s=_ROUTE_TIMEOUT_S):
                return
        except TimeoutError:  # the name server is paused, and so nobody can be told
            return
        raise StartError(f"the broker has not registered with {self.name_server} after {_ROUTE_TIMEOUT_S:g} s")

    def _is_registered(self) -> bool:
        try:
            answer = remoting.call(self.name_server, remoting.GET_BROKER_CLUSTER_INFO, tls=self._tls, timeout_s=2.0)
        except ConnectionError:
            return False
        return f'"{self.broker_name}"'.encode() in answer

    def _has_route(self, topic: str) -> bool:
        try:
            remoting.call(self.name_server, remoting.GET_ROUTEINFO_BY_TOPIC, {"topic": topic}, tls=self._tls)
        except RefusedError as error:
            if error.response_code != remoting.TOPIC_NOT_EXIST:
                raise
            return False
        return True

    def _call_broker(self, code: int, fields: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        remoting.call(self.broker_address, code, fields, body, credentials=self._credentials, tls=self._tls)

    def _logback_path(self, name: str) -> Path:
        return self.home / "conf" / f"logback_{name}.xml"

    def _broker_config(self, name_server: str, port: int) -> dict[str, str]:
        store = self.directory / "store"
        return {
            "brokerClusterName": self.cluster_name,
            "brokerName": self.broker_name,
            "brokerId": "0",
            "brokerIP1": _HOST,
            "listenPort": str(port),
            "namesrvAddr": name_server,
            "registerNameServerPeriod": "10000",  # the shortest that the broker accepts
            "storePathRootDir": str(store),
            "storePathCommitLog": str(store / "commitlog"),
            # Files are allocated whole: small ones keep a test's directory small. 64 MiB holds 16 of the largest messages.
            "mappedFileSizeCommitLog": str(64 * 1024 * 1024),
            "mappedFileSizeConsumeQueue": str(20 * 50_000),  # 20 bytes an entry
            "maxHashSlotNum": "20000",
            "maxIndexNum": "80000",
            "flushDiskType": "ASYNC_FLUSH",
            "brokerRole": "ASYNC_MASTER",
            "autoCreateTopicEnable": "false",
            "autoCreateSubscriptionGroup": "true",
            "enablePropertyFilter": "true",
            "diskMaxUsedSpaceRatio": "95",
        }
