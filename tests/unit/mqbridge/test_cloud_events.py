"""Events of what was read from brokers: what a handler reads from them is what the source gave."""

from hypothesis import given
from hypothesis import strategies as st

from mqbridge import triggers
from mqbridge.cloud_events import mqtt_event, rocketmq_event
from mqbridge.messages import BROKER, QUEUE_ID, MqttMessage, RocketMQMessage
from mqbridge.mqtt import Publish
from rocketmq_remoting import StoredMessage

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_level = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0+#"), min_size=1, max_size=8)


@given(
    topic=st.lists(_level, min_size=1, max_size=4).map("/".join),
    payload=st.binary(max_size=40),
    qos=st.integers(0, 2),
    retain=st.booleans(),
    version=st.sampled_from([4, 5]),
    client_id=_text,
    user_properties=st.lists(st.tuples(_text, _text), max_size=3),
    expiry=st.none() | st.integers(0, 0xFFFFFFFF),
    content_type=_text,
    time_ms=st.integers(0, 4_000_000_000_000),
)
def test_mqtt_message_survives_the_event(
    topic: str,
    payload: bytes,
    qos: int,
    retain: bool,
    version: int,
    client_id: str,
    user_properties: list[tuple[str, str]],
    expiry: int | None,
    content_type: str,
    time_ms: int,
) -> None:
    event = mqtt_event(
        rule="r",
        event_id="e",
        time_ms=time_ms,
        instance_id="i",
        protocol_version=version,
        client_id=client_id,
        publish=Publish(topic, payload, qos, retain, False, 7, user_properties, expiry, content_type),
    )
    batch = triggers.read([event])
    assert batch.only_rule == "r"
    assert batch.records[0].message == MqttMessage(
        instance_id="i",
        topic=topic,
        payload=payload,
        qos=qos,
        retain=retain,
        message_id="e",
        time_ms=time_ms,
        client_id=client_id,
        protocol_version=version,
        user_properties=tuple(user_properties),
        message_expiry_interval=expiry,
        content_type=content_type,
    )


@given(body=st.binary(max_size=40), value=_text)
def test_rocketmq_message_survives_the_event(body: bytes, value: str) -> None:
    stored = StoredMessage(
        topic="t",
        queue_id=0,
        queue_offset=1,
        physical_offset=2,
        body=body,
        properties={"UNIQ_KEY": "A" * 32, "TAGS": "tag", "KEYS": "k1 k2", "CLUSTER": "c", "mine": value},
        born_timestamp_ms=1_767_225_600_123,
        store_timestamp_ms=0,
        reconsume_times=0,
        broker_name="broker-a",
    )
    event = rocketmq_event(rule="r", instance_id="i", message=stored)
    assert (event[BROKER], event[QUEUE_ID]) == ("broker-a", 0)
    message = triggers.read([event]).records[0].message
    assert message == RocketMQMessage(
        instance_id="i",
        topic="t",
        body=body,
        message_id="A" * 32,
        tags="tag",
        keys="k1 k2",
        properties={"mine": value},
        time_ms=1_767_225_600_123,
    )


@given(born_ms=st.integers(-(2**63), 2**63 - 1))
def test_a_message_may_be_born_at_any_time(born_ms: int) -> None:
    """A producer says when, and the broker stores it: microseconds, say."""
    message = StoredMessage(
        topic="commands",
        queue_id=0,
        queue_offset=0,
        physical_offset=0,
        body=b"on",
        properties={"UNIQ_KEY": "0" * 32},
        born_timestamp_ms=born_ms,
        store_timestamp_ms=0,
        reconsume_times=0,
    )
    batch = triggers.read([rocketmq_event(rule="r", instance_id="i", message=message)])
    assert isinstance(batch.records[0].message, RocketMQMessage)
