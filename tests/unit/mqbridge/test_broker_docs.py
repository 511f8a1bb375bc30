"""docs/brokers.md: every document on the page is one that is loaded, and that an inbound rule can use."""

import re

import pytest

from mqbridge.rules import load
from mqbridge.rules.documents import read_document
from tests.unit.mqbridge.support import ROOT

PAGE = (ROOT / "docs" / "brokers.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
RULES = """
  RocketMQ:
    - {InstanceId: rmq, NameServers: ["127.0.0.1:9876"]}
InboundRules:
  - {RuleId: commands, Source: {Topic: commands}, Destination: {Topic: devices}}
"""


def test_each_broker_has_one() -> None:
    assert len(BLOCKS) == 8
    assert len(re.findall(r"^## ", PAGE, re.MULTILINE)) == 5


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.findall(r"Endpoint: (\S+)", block)[0])
def test_a_document_is_valid(block: str) -> None:
    assert not load(read_document(block, "page.yaml").data).notices
    rules = load(read_document(block + RULES, "page.yaml").data)
    (instance,) = rules.mqtt.values()
    assert instance.is_aws_iot == ("amazonaws" in block)
