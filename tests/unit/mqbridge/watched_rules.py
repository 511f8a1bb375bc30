"""What tests of the places that rules come from have in common: documents, places that change, and a clock that a test sets."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mqbridge.rules import Rules, RulesError
from mqbridge.sources import RefreshedRules
from mqbridge.telemetry import Counters
from tests.unit.mqbridge.support import document, outbound_rule


def text_of(topic: str = "telemetry", **more: Any) -> str:
    return json.dumps(document(OutboundRules=[outbound_rule(topic=topic)], **more))


FAULTY = json.dumps(document(OutboundRules=[outbound_rule(parent="a/b")]))


def topic_of(rules: Rules) -> str:
    return str(rules.outbound[0].destination.topic)


class Clock:
    def __init__(self) -> None:
        self.now = 1_767_225_600.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """Rules of a source, a clock to move, and what was counted."""

    def __init__(self, source: str, ttl: str | None = None, **more: Any) -> None:
        self.clock, self.counters = Clock(), Counters()
        self.rules = RefreshedRules(source, ttl, self.counters, clock=self.clock, **more)

    def topic(self, after_s: float = 0.0) -> str:
        self.clock.now += after_s
        return topic_of(self.rules.current())

    def refusal(self) -> str:
        with pytest.raises(RulesError) as raised:
            self.rules.current()
        return str(raised.value)

    @property
    def counted(self) -> dict[str, float]:
        return {
            dict(labels)["outcome"]: value
            for (name, labels), value in self.counters.snapshot().items()
            if name == "mqbridge_config_reloads_total"
        }


def replace_file(path: Path, text: str) -> None:
    """As a mounted volume changes: another file takes the name."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    os.replace(beside, path)


@contextmanager
def saying(answer: bytes) -> Iterator[int]:
    """Yield the port of a server that says this to the first who asks, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()
