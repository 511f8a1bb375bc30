"""MQTT -> filter -> transform -> RocketMQ by message outflow tasks.

Takes an SQS batch (AWS IoT rule results, or any of the message shapes) or an array of CloudEvents, and answers with a partial batch
response. The rules come from MQBRIDGE_RULES.
"""

from typing import Any

from mqbridge.flows import outflow
from mqbridge.handler import handle


def handler(event: Any, context: Any) -> Any:
    """Carry every record through the tasks of its topic; report each that was neither stored nor meant to be dropped."""
    return handle("outflow", outflow.plan, event, context)
