"""MQTT -> RocketMQ by data outbound rules: what devices publish under a parent topic lands in a RocketMQ topic.

Takes what docs/triggers.md lists, and answers as each trigger's platform understands. The rules come from MQBRIDGE_RULES.
"""

from typing import Any

from mqbridge.garbage import kept_for_good

with kept_for_good():
    from mqbridge.contexts import Context
    from mqbridge.flows import outbound
    from mqbridge.handler import handle


def handler(event: Any, context: Context) -> Any:
    """Send every record to the RocketMQ topic that its rule names; report each that was not stored."""
    return handle("outbound", outbound.plan, event, context)
