"""RocketMQ's own Java client, to check ours against: what it sends, we must read, and the other way round."""

import base64
import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NotRequired, TypedDict

from .cache import CACHE, HERE, jars, locked, program, publish
from .errors import CommandError
from .jvm import SHORT_LIVED, java_command

_SOURCES = HERE / "java"
_START_ALLOWANCE_S = 20.0  # for the JVM itself on a busy machine, over the time that the program gives itself
_HOME = CACHE / "java-home"


class StoredMessage(TypedDict):
    """A message as the Java client delivers it."""

    topic: str
    queueId: int
    queueOffset: int
    msgId: str | None  # the property UNIQ_KEY
    offsetMsgId: str
    tags: str | None
    keys: str | None
    bornTimestamp: int
    storeTimestamp: int
    body: bytes  # decompressed
    properties: dict[str, str]


class OutgoingMessage(TypedDict):
    """A message for the Java client to send."""

    topic: str
    body: bytes
    tags: NotRequired[str | None]
    keys: NotRequired[str | None]
    properties: NotRequired[Mapping[str, str]]
    delayLevel: NotRequired[int | None]
    shardingKey: NotRequired[str | None]  # chooses the queue by its hash
    batch: NotRequired[str | int | None]  # neighbours with the same value are sent as one batch


class SendResult(TypedDict):
    """What the Java client says of one send; for a batch the ids are joined by commas."""

    msgId: str
    offsetMsgId: str | None
    queueId: int
    queueOffset: int
    sendStatus: str


def consume(
    name_server: str, topic: str, expected: int | None = None, *, timeout_s: float = 20.0, grace_s: float = 0.3
) -> list[StoredMessage]:
    """Read all queues of a topic from their beginning, without a consumer group.

    Ends when `expected` messages have come and for `grace_s` no more, or after `timeout_s` with those that have; without
    `expected` always after `timeout_s`. It is for the caller to judge the number.
    """
    arguments = (name_server, topic, str(-1 if expected is None else expected), str(timeout_s), str(grace_s))
    lines = _run("Consume", arguments, timeout_s=timeout_s + grace_s)
    messages: list[StoredMessage] = []
    for line in lines:
        fields = json.loads(line)
        fields["body"] = base64.b64decode(fields.pop("body_base64"))
        messages.append(fields)
    return messages


def produce(name_server: str, messages: Iterable[OutgoingMessage], *, timeout_s: float = 30.0) -> list[SendResult]:
    """Send messages one after the other with the Java client's defaults; return one result per send.

    Raises:
        CommandError: a send failed; those before it have been sent.
    """
    lines = []
    for message in messages:
        fields: dict[str, object] = {name: value for name, value in message.items() if name != "body"}
        fields["body_base64"] = base64.b64encode(message["body"]).decode()
        lines.append(json.dumps(fields, default=dict))
    return [json.loads(line) for line in _run("Produce", (name_server,), lines, timeout_s=timeout_s)]


def _run(main: str, arguments: Sequence[str], lines: Iterable[str] = (), *, timeout_s: float) -> list[str]:
    command = java_command(main, *arguments, home=_HOME, options=SHORT_LIVED, classes=_compiled())
    try:
        done = subprocess.run(  # noqa: S603
            command,
            check=False,
            capture_output=True,
            text=True,
            encoding="utf-8",
            input="".join(f"{line}\n" for line in lines),
            timeout=timeout_s + _START_ALLOWANCE_S,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"java {main}: not finished after {timeout_s + _START_ALLOWANCE_S:g} s") from error
    if done.returncode != 0:
        raise CommandError(f"java {main} ended with status {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout.splitlines()


def _compiled() -> Path:
    """Return the directory of the compiled classes; compile if the sources or the jars have changed."""
    sources = sorted(_SOURCES.glob("*.java"))
    content = hashlib.sha256(jars().parent.name.encode())
    for source in sources:
        content.update(source.read_bytes())
    target = CACHE / "java-classes" / content.hexdigest()[:16]
    if not target.exists():
        with locked():
            if not target.exists():
                publish(target, lambda directory: _compile(sources, directory))
    return target


def _compile(sources: Sequence[Path], directory: Path) -> None:
    options = ("-encoding", "UTF-8", "-nowarn", "-proc:none", "-cp", str(jars() / "*"), "-d", str(directory))
    command = (program("javac"), *options, *map(str, sources))
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode != 0:
        raise CommandError(f"javac:\n{done.stderr.strip()}")
