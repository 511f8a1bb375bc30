"""Message outflow tasks, in the shape of EventBridge's CreateEventStreaming."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .forms import FIELD, SinkField
from .kinds import Choice, Ignored, ListOf, OneOf, Raw, Refused, Section, Text, setting
from .names import FREE_TEXT, INSTANCE_ID, MQTT_PARENT
from .run_options import RunOptions
from .sections import Declaration

if TYPE_CHECKING:
    from .operators import Transform

__all__ = ["EventStreaming", "SinkField", "SinkParameters", "SourceMqttParameters", "StreamingSink", "StreamingSource"]

_NETWORK = Ignored("networks are the deployment's")


def _transform() -> "type[Transform]":
    from .operators import Transform  # here, because most tasks have none

    return Transform


class SourceMqttParameters(Declaration):
    """A task's source: an MQTT topic and all below it."""

    instance_id: str | None = setting(
        "InstanceId", INSTANCE_ID, default=None, doc="May be left out if there is only one."
    )
    topic: str = setting("Topic", MQTT_PARENT, doc="The topic; everything below it belongs to it.", example="devices")
    body_data_type: str = setting(
        "BodyDataType",
        Choice("JSON", "Text", "Binary", ignore_case=True),
        default="JSON",
        doc="What data.body is: the JSON value, the UTF-8 text, or the payload in Base64.",
    )
    region_id: None = setting("RegionId", Ignored("the instance says its region"), default=None, doc="Ignored.")
    network_type: None = setting("NetworkType", _NETWORK, default=None, doc="Ignored.")
    vpc_id: None = setting("VpcId", _NETWORK, default=None, doc="Ignored.")
    v_switch_ids: None = setting("VSwitchIds", _NETWORK, default=None, doc="Ignored.")
    security_group_id: None = setting("SecurityGroupId", _NETWORK, default=None, doc="Ignored.")


class StreamingSource(Declaration):
    """A task's source, as CreateEventStreaming names it."""

    mqtt: SourceMqttParameters = setting("SourceMQTTParameters", Section(SourceMqttParameters), doc="The MQTT source.")


_CONNECTION = Ignored("Instances says how to connect")


class SinkParameters(Declaration):
    """What a task sends to RocketMQ."""

    instance_id: SinkField | None = setting(
        "InstanceId", FIELD, default=None, doc="CONSTANT; may be left out if there is only one."
    )
    topic: SinkField = setting("Topic", FIELD, doc="The topic.")
    body: SinkField = setting("Body", FIELD, doc="The body.")
    properties: SinkField | None = setting("Properties", FIELD, default=None, doc="A JSON object of user properties.")
    keys: SinkField | None = setting("Keys", FIELD, default=None, doc="Message keys.")
    tags: SinkField | None = setting("Tags", FIELD, default=None, doc="The tag.")
    sharding_key: SinkField | None = setting(
        "ShardingKey", FIELD, default=None, doc="Messages of one key keep their order."
    )
    delivery_order_type: None = setting(
        "DeliveryOrderType", Ignored("order follows ShardingKey"), default=None, doc="Ignored."
    )
    instance_type: None = setting("InstanceType", _CONNECTION, default=None, doc="Ignored.")
    instance_endpoint: None = setting("InstanceEndpoint", _CONNECTION, default=None, doc="Ignored.")
    instance_username: None = setting("InstanceUsername", _CONNECTION, default=None, doc="Ignored.")
    instance_password: None = setting("InstancePassword", _CONNECTION, default=None, doc="Ignored.")
    network: None = setting("Network", _NETWORK, default=None, doc="Ignored.")
    vpc_id: None = setting("VpcId", _NETWORK, default=None, doc="Ignored.")
    v_switch_ids: None = setting("VSwitchIds", _NETWORK, default=None, doc="Ignored.")
    security_group_id: None = setting("SecurityGroupId", _NETWORK, default=None, doc="Ignored.")


class StreamingSink(Declaration):
    """A task's sink, as CreateEventStreaming names it."""

    rocketmq: SinkParameters = setting("SinkRocketMQParameters", Section(SinkParameters), doc="The RocketMQ sink.")


class EventStreaming(Declaration):
    """Message outflow task: MQTT -> filter -> transform -> RocketMQ. The body of CreateEventStreaming is accepted as it stands."""

    name: str = setting(
        "EventStreamingName",
        Text("at most 127 letters, digits or '-', a letter or digit first", r"[a-zA-Z0-9][a-zA-Z0-9-]{0,126}"),
        doc="Unique.",
        example="hot-readings",
    )
    description: str = setting("Description", FREE_TEXT, default="", doc="For people.")
    status: str = setting(
        "Status",
        Choice("Enabled", "Paused"),
        default="Enabled",
        doc="Paused: nothing is read; the MQTT broker keeps it.",
    )
    filter_pattern: Mapping[str, Any] | str | None = setting(
        "FilterPattern",
        Raw(
            "an event pattern, as a mapping or as JSON text",
            lambda value: isinstance(value, Mapping | str),
            schema={"type": ["object", "string"]},
        ),
        default=None,
        doc="What to forward; everything if left out.",
    )
    source: StreamingSource = setting("Source", Section(StreamingSource), doc="Where the messages come from.")
    transforms: "tuple[Transform, ...]" = setting(
        "Transforms",
        ListOf(OneOf(_transform, "a mapping with one operator")),
        default=(),
        doc="Operators, carried out in order.",
    )
    sink: StreamingSink = setting("Sink", Section(StreamingSink), doc="What is sent, and where to.")
    run_options: RunOptions = setting("RunOptions", Section(RunOptions), default=RunOptions(), doc="How the task runs.")
    region_id: None = setting("RegionId", Ignored("the instances say their regions"), default=None, doc="Ignored.")
    tags: None = setting("Tags", Ignored("labels of the managed service"), default=None, doc="Ignored.")
    metadata: None = setting("Metadata", Refused("Source, which replaces Metadata here"), default=None, doc="Refused.")

    @property
    def rule_id(self) -> str:
        """The name, as the other kinds of rule call theirs."""
        return self.name
