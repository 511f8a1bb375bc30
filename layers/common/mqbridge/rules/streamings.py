"""Message outflow tasks, in the shape of EventBridge's CreateEventStreaming."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .kinds import Choice, Ignored, ListOf, Raw, Refused, Section, Text, setting
from .names import FREE_TEXT, INSTANCE_ID, MQTT_PARENT
from .run_options import RunOptions

__all__ = ["EventStreaming", "SinkField", "SinkParameters", "SourceMqttParameters", "StreamingSink", "StreamingSource"]

_NETWORK = Ignored("networks are the deployment's")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMqttParameters:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingSource:
    """A task's source, as CreateEventStreaming names it."""

    mqtt: SourceMqttParameters = setting("SourceMQTTParameters", Section(SourceMqttParameters), doc="The MQTT source.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkField:
    """One of the four forms: the whole event, a path in it, fixed text, or a template."""

    form: str = setting(
        "Form", Choice("ORIGINAL", "JSONPATH", "CONSTANT", "TEMPLATE"), doc="The form.", example="JSONPATH"
    )
    value: str | None = setting(
        "Value",
        Text("text of at most 10240 characters", r".*"),
        default=None,
        doc="The path, the text, or the template's variables as JSON.",
    )
    template: str | None = setting(
        "Template", Text("text of at most 10240 characters", r".*"), default=None, doc="Text with ${name} in it."
    )


_FIELD = Section(SinkField, "a form: {Form, Value, Template}")
_CONNECTION = Ignored("Instances says how to connect")


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkParameters:
    """What a task sends to RocketMQ."""

    instance_id: SinkField | None = setting(
        "InstanceId", _FIELD, default=None, doc="CONSTANT; may be left out if there is only one."
    )
    topic: SinkField = setting("Topic", _FIELD, doc="The topic.")
    body: SinkField = setting("Body", _FIELD, doc="The body.")
    properties: SinkField | None = setting("Properties", _FIELD, default=None, doc="A JSON object of user properties.")
    keys: SinkField | None = setting("Keys", _FIELD, default=None, doc="Message keys.")
    tags: SinkField | None = setting("Tags", _FIELD, default=None, doc="The tag.")
    sharding_key: SinkField | None = setting(
        "ShardingKey", _FIELD, default=None, doc="Messages of one key keep their order."
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


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingSink:
    """A task's sink, as CreateEventStreaming names it."""

    rocketmq: SinkParameters = setting("SinkRocketMQParameters", Section(SinkParameters), doc="The RocketMQ sink.")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStreaming:
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
    transforms: tuple[Mapping[str, Any], ...] = setting(
        "Transforms",
        ListOf(
            Raw(
                "a mapping with one operator",
                lambda value: isinstance(value, Mapping) and len(value) == 1,
                schema={"type": "object", "minProperties": 1, "maxProperties": 1},
            )
        ),
        default=(),
        doc="Operators, carried out in order.",
    )
    sink: StreamingSink = setting("Sink", Section(StreamingSink), doc="What is sent, and where to.")
    run_options: RunOptions = setting("RunOptions", Section(RunOptions), default=RunOptions(), doc="How the task runs.")
    region_id: None = setting("RegionId", Ignored("the instances say their regions"), default=None, doc="Ignored.")
    tags: None = setting("Tags", Ignored("labels of the managed service"), default=None, doc="Ignored.")
    metadata: None = setting("Metadata", Refused("Source, which replaces Metadata here"), default=None, doc="Refused.")
