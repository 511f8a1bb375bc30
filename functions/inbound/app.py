"""RocketMQ -> MQTT by data inbound rules: a RocketMQ topic's messages are pushed to MQTT clients under a parent topic.

Takes what docs/triggers.md lists, and answers as each trigger's platform understands; asked by a schedule, it reads the topics itself.
The rules come from MQBRIDGE_RULES.
"""

from typing import Any

from mqbridge.flows import inbound
from mqbridge.handler import handle, pull
from mqbridge.triggers import asks_to_pull


def handler(event: Any, context: Any) -> Any:
    """Publish every record under the MQTT parent topics that its rules name; report each that was not acknowledged."""
    if asks_to_pull(event):
        return pull("inbound", inbound.plan, context)
    return handle("inbound", inbound.plan, event, context)
