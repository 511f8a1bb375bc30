"""RocketMQ -> MQTT by data inbound rules: a RocketMQ topic's messages are pushed to MQTT clients under a parent topic.

Takes what docs/triggers.md lists, and answers as each trigger's platform understands; asked by a schedule, it reads the topics itself.
The rules come from MQBRIDGE_RULES.
"""

from typing import Any

from mqbridge.garbage import kept_for_good

with kept_for_good():
    from mqbridge.contexts import Context
    from mqbridge.flows import inbound
    from mqbridge.handler import handle


def handler(event: Any, context: Context) -> Any:
    """Publish every record under the MQTT parent topics that its rules name; report each that was not acknowledged."""
    return handle("inbound", inbound.plan, event, context, may_pull=True)
