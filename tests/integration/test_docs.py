"""The examples of the documentation run as they stand, but for the broker's address."""

import re
from pathlib import Path
from typing import Any

from devstack.rocketmq import RocketMQ

ROOT = Path(__file__).parents[2]


def test_quick_start_of_the_client_sends_and_receives(rocketmq: RocketMQ) -> None:
    rocketmq.create_topic("telemetry")
    page = (ROOT / "docs/rocketmq_remoting.md").read_text()
    example = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(example.replace("127.0.0.1:9876", rocketmq.name_server), names)
    assert names["outcome"].error is None
    assert [message.body for message in names["messages"]] == [b"any \x00 bytes"]
