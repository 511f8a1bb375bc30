"""Client presence -> RocketMQ by client status notification rules: clients of a group coming and going become messages.

Takes what AWS IoT, EMQX and ApsaraMQ say of clients, alone, in an SQS batch or as CloudEvents, and answers as the trigger expects. The
rules come from MQBRIDGE_RULES.
"""

from typing import Any

from mqbridge.garbage import kept_for_good

with kept_for_good():
    from mqbridge.contexts import Context
    from mqbridge.flows import status
    from mqbridge.handler import handle


def handler(event: Any, context: Context) -> Any:
    """Send the notices of every event to the RocketMQ topic that its client's rule names; report each that was not stored."""
    return handle("status", status.plan, event, context)
