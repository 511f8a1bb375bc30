"""MQTT -> filter -> transform -> RocketMQ by message outflow tasks.

Takes what docs/triggers.md lists, and answers as each trigger's platform understands. The rules come from MQBRIDGE_RULES.
"""

from typing import Any

from mqbridge.garbage import kept_for_good

with kept_for_good():
    from mqbridge.contexts import Context
    from mqbridge.flows import in_lanes, outflow
    from mqbridge.handler import handle


def handler(event: Any, context: Context) -> Any:
    """Carry every record through the tasks of its topic; report each that was neither stored nor meant to be dropped."""
    return handle("outflow", in_lanes(outflow.plan), event, context)
