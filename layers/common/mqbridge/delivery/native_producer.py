"""A producer through librocketmq, with what the package rocketmq-client-python does wrong put right from outside.

- A body goes in by SetByteMessageBody, with its length, and every message made is destroyed.
- A message is sent by SendMessageOrderly with no retries: SendMessageSync sends up to five times with five message ids, and
  SendMessageOrderlyByShardingKey moves to another queue on its second try and hashes unlike Java.
- librocketmq overwrites UNIQ_KEY. It writes properties sorted by name and without escapes, and of equal names readers take the last: a
  property that sorts next after UNIQ_KEY, and begins with a second one, makes our message id the one that counts (`_id_property`).
- Routes are asked for by `rocketmq_remoting`: where a topic has none, librocketmq would ask for TBW102's and have the topic created.

What cannot be put right is refused as an `IllegalMessage`: docs/native.md has the list.
"""

import atexit
import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from rocketmq_remoting import (
    BrokerBusy,
    Client,
    ConnectFailed,
    Credentials,
    HeldBack,
    IllegalMessage,
    Message,
    MessageQueue,
    OutcomeUnknown,
    RocketMQError,
    SendOutcome,
    check_message,
)

from .native_errors import STORED, Status, send_failure
from .native_library import Library, QueueSelector, SendResult, writable_home

__all__ = ["NativeProducer"]

# librocketmq's default is 128 KiB; the broker's is this, and check_message stays below it.
_MAX_MESSAGE_BYTES = 4 * 1024 * 1024
# Java's DefaultMQProducer.sendMsgTimeout: one silent broker must not use up the time of the messages behind.
_SEND_TIMEOUT_S = 3.0
_LOG_LEVEL_WARN = 3  # CLogLevel
# A function has 512 MB of /tmp; the library's default is three files of 100 MB.
_LOG_FILES, _LOG_FILE_MEGABYTES = 2, 8
# SessionCredentials.h: without a channel the library takes the credentials for incomplete and signs nothing.
_CHANNEL = b"ALIYUN"
_SERVICE_NOT_AVAILABLE = 14


class NativeProducer:
    """A producer of one cluster, as `rocketmq_remoting.Producer` is. Not for several threads at once.

    Messages are sent one after the other, each once. The library's threads start with the first message, so a process may fork before.

    Args:
        library: what `load_library` returns.
        client: whose routes are used; nothing is sent through it.
        name_servers: "host:port" each.
        credentials: for brokers with access control; a security token is not supported.
    """

    def __init__(
        self,
        library: Library,
        client: Client,
        name_servers: Sequence[str],
        *,
        credentials: Credentials | None = None,
        group: str = "mqbridge",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if credentials is not None and credentials.security_token:
            raise ValueError("SecurityToken: expected none with Client: native, which cannot send one, got one")
        self._library = library
        self._client = client
        self._name_servers = ";".join(name_servers).encode()
        self._credentials = credentials
        self._group = group.encode()
        self._clock = clock
        self._handle: int | None = None
        self._rotation = 0

    def send(self, messages: Sequence[Message], deadline: float) -> list[SendOutcome]:
        """Send `messages` and return their outcomes in the same order; never raises for one of them.

        Messages with the same sharding key are stored in the order given, and none overtakes an earlier one that failed.

        Args:
            messages: any number, of any topics.
            deadline: time.monotonic seconds after which nothing more is sent. A call of the library that is under way then may end
                some seconds later: its connecting has a timeout of its own.
        """
        outcomes = []
        failed_lanes: set[tuple[str, str]] = set()
        for message in messages:
            lane = message.topic, message.sharding_key
            try:
                check_message(message)
                _check_for_the_library(message)
                if lane in failed_lanes:
                    raise HeldBack("an earlier message with the same sharding key was not stored")
                outcomes.append(self._send(message, deadline))
            except RocketMQError as error:
                outcomes.append(SendOutcome(error=error))
                # As with the remoting producer, a message that was refused before sending holds back no other.
                if message.sharding_key and not isinstance(error, IllegalMessage):
                    failed_lanes.add(lane)
        return outcomes

    def close(self) -> None:
        """End the library's threads and close all connections; the producer can be used again."""
        self._client.close()
        handle, self._handle = self._handle, None
        if handle is not None:
            atexit.unregister(self.close)
            self._library.ShutdownProducer(handle)
            self._library.DestroyProducer(handle)

    def _send(self, message: Message, deadline: float) -> SendOutcome:
        if self._clock() >= deadline:
            raise ConnectFailed("no time left to send")
        # Asked for every message, and answered from memory for 30 s.
        route = self._client.route(message.topic, deadline)
        if not route.writable:
            raise BrokerBusy(_SERVICE_NOT_AVAILABLE, f"no writable queue of topic {message.topic!r}")
        self._rotation += 1
        chosen: MessageQueue | None = None
        is_asked = False

        def choose(size: int, _message: int, _argument: int) -> int:
            """Return which of the library's queues: it has them in the route's order, by broker name, then number."""
            nonlocal chosen, is_asked
            is_asked = True
            # Its route may be older or newer than ours. Java's rule then goes by its number of queues.
            is_ours = size == len(route.writable)
            queues = route.writable if is_ours else tuple(MessageQueue(message.topic, "", at) for at in range(size))
            if message.sharding_key:
                index = queues.index(replace(route, writable=queues).queue_for_key(message.sharding_key))
            else:
                index = self._rotation % size
            chosen = queues[index] if is_ours else None
            return index

        status, result = self._call(message, choose, deadline)
        if status != Status.OK:
            raise send_failure(status, self._latest_error(), has_queue=is_asked)
        if result.sendStatus not in STORED:
            raise OutcomeUnknown(f"librocketmq reports the unknown send status {result.sendStatus}")
        return SendOutcome(queue=chosen, queue_offset=result.offset)

    def _call(
        self, message: Message, choose: Callable[[int, int, int], int], deadline: float
    ) -> tuple[int, SendResult]:
        producer = self._started()
        result = SendResult()
        handle = self._library.CreateMessage(message.topic.encode())
        if handle is None:
            raise ConnectFailed("librocketmq made no message")
        try:
            self._fill(handle, message)
            left_ms = int(min(_SEND_TIMEOUT_S, deadline - self._clock()) * 1000)
            self._require(self._library.SetProducerSendMsgTimeout(producer, max(1, left_ms)))
            # Once, without retries. The argument is for the selector, which needs none; NULL is refused.
            status = self._library.SendMessageOrderly(producer, handle, QueueSelector(choose), handle, 0, result)
        finally:
            self._library.DestroyMessage(handle)
        return status, result

    def _fill(self, handle: int, message: Message) -> None:
        library = self._library
        if message.tags:
            self._require(library.SetMessageTags(handle, message.tags.encode()))
        if message.keys:
            self._require(library.SetMessageKeys(handle, message.keys.encode()))
        if message.delay_level:
            self._require(library.SetDelayTimeLevel(handle, message.delay_level))
        for name, value in message.properties.items():
            if value:  # as check_message has it: every reader skips a pair without a value
                self._require(library.SetMessageProperty(handle, name.encode(), value.encode()))
        self._require(library.SetMessageProperty(handle, *_id_property(message.message_id)))
        self._require(library.SetByteMessageBody(handle, message.body, len(message.body)))

    def _started(self) -> int:
        if self._handle is not None:
            return self._handle
        with writable_home():
            handle = self._library.CreateProducer(self._group)
            if handle is None:
                raise ConnectFailed("librocketmq made no producer")
            try:
                self._configure(handle)
                self._require(self._library.StartProducer(handle))
            except RocketMQError:
                self._library.DestroyProducer(handle)
                raise
        # Its threads keep a process alive that ends without closing it, by an error for example.
        atexit.register(self.close)
        self._handle = handle
        return handle

    def _configure(self, handle: int) -> None:
        library = self._library
        # Two producers of one instance name share their threads and connections, and crash when both are shut down
        # (apache/rocketmq-client-cpp#468).
        instance = f"mqbridge-{os.getpid()}-{secrets.token_hex(8)}"
        self._require(library.SetProducerInstanceName(handle, instance.encode()))
        self._require(library.SetProducerNameServerAddress(handle, self._name_servers))
        self._require(library.SetProducerMaxMessageSize(handle, _MAX_MESSAGE_BYTES))
        self._require(library.SetProducerLogLevel(handle, _LOG_LEVEL_WARN))
        self._require(library.SetProducerLogFileNumAndSize(handle, _LOG_FILES, _LOG_FILE_MEGABYTES))
        if self._credentials is not None:
            keys = self._credentials.access_key.encode(), self._credentials.secret_key.encode()
            self._require(library.SetProducerSessionCredentials(handle, *keys, _CHANNEL))

    def _require(self, status: int) -> None:
        if status != Status.OK:
            raise send_failure(status, self._latest_error(), has_queue=False)

    def _latest_error(self) -> str:
        return (self._library.GetLatestErrorMessage() or b"").decode("utf-8", "replace")


def _id_property(message_id: str) -> tuple[bytes, bytes]:
    r"""Return name and value of a property that is written as UNIQ_KEY \x01 id \x02 WAIT \x01 true, after the library's own UNIQ_KEY.

    WAIT=true is what every message has, and what brokers do not store.
    """
    return b"UNIQ_KEY\x01" + message_id.encode() + b"\x02WAIT", b"true"


def _check_for_the_library(message: Message) -> None:
    """Refuse what would not arrive as it is."""
    if not message.body:
        raise IllegalMessage(
            "body", "at least one byte with Client: native, as librocketmq refuses an empty body", "none"
        )
    texts = [("keys", message.keys)]
    texts += [(f"properties[{name!r}]", part) for name, value in message.properties.items() for part in (name, value)]
    for field, text in texts:
        if "\0" in text:
            expected = "no NUL character with Client: native, as librocketmq's texts end at one"
            raise IllegalMessage(field, expected, repr(text[:100]))
