"""The three kinds of data rule: outbound, inbound, client status notification."""

from typing import Any

from .kinds import Choice, Section, Text, setting
from .names import FREE_TEXT, GROUP, INSTANCE_ID, MQTT_PARENT, ROCKETMQ_TOPIC
from .run_options import RunOptions
from .sections import Declaration

__all__ = ["InboundRule", "InboundSource", "MqttParent", "OutboundRule", "RocketMQTopic", "StatusRule", "StatusSource"]

_RULE_ID = Text(
    "3 to 64 letters, digits, '-' or '_', at least one letter or digit", r"(?=.*[a-zA-Z0-9])[a-zA-Z0-9_-]{3,64}"
)
# RFC 3339, so far as a pattern can tell: a 29 February is left to the calendar (check.py). Digits are ASCII's, which \d are not.
_DATE = r"[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|[12][0-9]))"
_HOUR = r"([01][0-9]|2[0-3])"
_TIME = rf"{_HOUR}:[0-5][0-9]:[0-5][0-9]"
_STATUS_DOC = "Disabled keeps the rule in the file; its messages are dropped and counted."
_RULE_STATUS = Choice("Enabled", "Disabled")


class MqttParent(Declaration):
    """An MQTT parent topic: the first level; everything below it belongs to it."""

    instance_id: str | None = setting(
        "InstanceId", INSTANCE_ID, default=None, doc="May be left out if there is only one."
    )
    topic: str = setting("Topic", MQTT_PARENT, doc="The parent topic.", example="devices")


class RocketMQTopic(Declaration):
    """A RocketMQ topic, which must exist."""

    instance_id: str | None = setting(
        "InstanceId", INSTANCE_ID, default=None, doc="May be left out if there is only one."
    )
    topic: str = setting("Topic", ROCKETMQ_TOPIC, doc="The topic.", example="telemetry")


class InboundSource(Declaration):
    """A RocketMQ topic, and how it is consumed."""

    instance_id: str | None = setting(
        "InstanceId", INSTANCE_ID, default=None, doc="May be left out if there is only one."
    )
    topic: str = setting("Topic", ROCKETMQ_TOPIC, doc="The topic.", example="commands")
    group_id: str | None = setting(
        "GroupId", GROUP, default=None, doc="Consumer group; GID_mqbridge_RULEID if left out."
    )
    start_from: str = setting(
        "StartFrom",
        Text(
            "LAST, FIRST or a time such as 2026-01-01T00:00:00Z",
            rf"LAST|FIRST|{_DATE}[Tt]{_TIME}(\.[0-9]+)?([Zz]|[+-]{_HOUR}:[0-5][0-9])",
        ),
        default="LAST",
        doc="Where a group starts that never committed an offset. LAST, so that old commands do not reach devices by surprise.",
    )


class StatusSource(Declaration):
    """Which MQTT clients: those of a group or, where client ids name none, those with a prefix or pattern. One of the three."""

    instance_id: str | None = setting(
        "InstanceId", INSTANCE_ID, default=None, doc="May be left out if there is only one."
    )
    group_id: str | None = setting(
        "GroupId",
        Text("a group id, the part of a client id before @@@", r"[^@/+#\x00]{1,64}"),
        default=None,
        doc="The group: clients named GROUP@@@DEVICE.",
        example="GID_sensor",
    )
    client_id_prefix: str | None = setting(
        "ClientIdPrefix",
        Text("the beginning of a client id", r"[^\x00]{1,256}"),
        default=None,
        doc="Clients whose id begins so; of several prefixes that fit, the longest counts.",
        example="sensor-",
    )
    client_id_pattern: str | None = setting(
        "ClientIdPattern",
        Text("a regular expression (RE2)"),
        default=None,
        doc="Clients whose whole id matches; of several patterns that fit, the first counts.",
        example="(sensor|meter)-[0-9]+",
    )

    @property
    def selector(self) -> tuple[str, str]:
        """The key that says which clients, and its value."""
        for key, value in (("GroupId", self.group_id), ("ClientIdPrefix", self.client_id_prefix)):
            if value is not None:
                return key, value
        return "ClientIdPattern", self.client_id_pattern or ""


def _rule_id() -> Any:
    return setting("RuleId", _RULE_ID, doc="Unique; part of client ids and consumer groups.", example="telemetry")


def _description() -> Any:
    return setting("Description", FREE_TEXT, default="", doc="For people.")


def _rule_status() -> Any:
    return setting("Status", _RULE_STATUS, default="Enabled", doc=_STATUS_DOC)


def _run_options() -> Any:
    return setting("RunOptions", Section(RunOptions), default=RunOptions(), doc="How the rule runs.")


class OutboundRule(Declaration):
    """Data outbound rule: what devices publish under a parent topic lands in a RocketMQ topic."""

    rule_id: str = _rule_id()
    description: str = _description()
    status: str = _rule_status()
    source: MqttParent = setting("Source", Section(MqttParent), doc="The MQTT parent topic.")
    destination: RocketMQTopic = setting("Destination", Section(RocketMQTopic), doc="The RocketMQ topic.")
    run_options: RunOptions = _run_options()


class InboundRule(Declaration):
    """Data inbound rule: a RocketMQ topic's messages are pushed to MQTT clients under a parent topic."""

    rule_id: str = _rule_id()
    description: str = _description()
    status: str = _rule_status()
    source: InboundSource = setting("Source", Section(InboundSource), doc="The RocketMQ topic.")
    destination: MqttParent = setting("Destination", Section(MqttParent), doc="The MQTT parent topic.")
    run_options: RunOptions = _run_options()

    @property
    def consumer_group(self) -> str:
        """The group that the rule's source is consumed as."""
        return self.source.group_id or f"GID_mqbridge_{self.rule_id}"


class StatusRule(Declaration):
    """Client status notification rule: clients of a group coming and going become RocketMQ messages."""

    rule_id: str = _rule_id()
    description: str = _description()
    status: str = _rule_status()
    source: StatusSource = setting("Source", Section(StatusSource), doc="The clients.")
    destination: RocketMQTopic = setting("Destination", Section(RocketMQTopic), doc="The RocketMQ topic.")
    run_options: RunOptions = _run_options()
