"""Structure mapping: what a message is on the other side, and what is refused with a reason."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqbridge.flows import outbound
from mqbridge.mapping import ORIGIN, is_echo, parent_of, to_mqtt, to_rocketmq
from mqbridge.messages import MqttMessage, RocketMQMessage
from mqbridge.outcomes import Reject, Send
from rocketmq_remoting import IllegalMessage
from tests.unit.mqbridge.support import (
    any_text,
    both_ways,
    case_file,
    command,
    levels,
    mqtt_text,
    mqtt_topics,
    on_the_wire,
    parents,
    publish,
    quick,
    record,
    unicode_text,
)

HEX_ID = "0a0B0C0D00002A139A5B00D5E1F30001"
# What a consumer may find: the tables' properties, the loop mark, and the id that RocketMQ shows.
KNOWN_PROPERTIES = frozenset(
    "qoslevel topic mqttSecondTopic clientId mqtt5UserProperty mqtt5MsgExpireInterval mqtt5ContentType mqbridge-origin UNIQ_KEY".split()
)
RESERVED = [
    "UNIQ_KEY",
    "TAGS",
    "KEYS",
    "DELAY",
    "WAIT",
    "REAL_TOPIC",
    "TRAN_MSG",
    "PGROUP",
    "__SHARDINGKEY",
    "qoslevel",
]

pairs = st.tuples(mqtt_text, mqtt_text).filter(lambda pair: pair[0] != ORIGIN)
user_properties = st.lists(pairs, max_size=5).map(tuple)


def exported(message: MqttMessage, topic: str = "telemetry") -> RocketMQMessage:
    mapped = to_rocketmq(message, source_instance_id="mqtt-local", instance_id="rmq-local", topic=topic)
    assert isinstance(mapped, RocketMQMessage), mapped
    return mapped


def imported(
    message: RocketMQMessage, parent: str = "devices", protocol: int = 5, limit: int = 128
) -> MqttMessage | Reject:
    return to_mqtt(message, instance_id="mqtt-local", parent=parent, protocol_version=protocol, max_topic_length=limit)


def by_rule(message: MqttMessage) -> Send | Reject:
    """Return what the outbound flow makes of a message under `devices`."""
    (planned,) = outbound.plan([record(message)], both_ways())
    assert isinstance(planned.outcome, Send | Reject), planned.outcome
    return planned.outcome


def without_mark(message: MqttMessage) -> list[list[str]]:
    return [[name, value] for name, value in message.user_properties if name != ORIGIN]


# Outbound.


@pytest.mark.parametrize("case", case_file("outbound-mapping.json"), ids=lambda case: case["name"])
def test_outbound_follows_the_table(case: dict[str, Any]) -> None:
    changes = {**case["message"], "user_properties": tuple(map(tuple, case["message"].get("user_properties", ())))}
    mapped = exported(publish(**changes))
    properties = dict(mapped.properties)
    assert properties.pop(ORIGIN) == "mqtt:mqtt-local/devices"
    assert properties == case["properties"]
    assert mapped.sharding_key == case["sharding_key"]


def test_a_message_goes_to_the_rule_s_instance_and_topic_whatever_the_parent_is_called() -> None:
    mapped = exported(publish(topic="devices/d1"), topic="another_name")
    assert (mapped.instance_id, mapped.topic) == ("rmq-local", "another_name")
    assert mapped.properties["topic"] == "devices/d1"


def test_nothing_but_the_tables_is_set() -> None:
    mapped = exported(
        publish(client_id="c", user_properties=(("a", "b"),), message_expiry_interval=1, content_type="t")
    )
    assert (mapped.tags, mapped.keys, mapped.delay_level) == ("", "", 0)
    assert {name for name, _ in on_the_wire(mapped)} == KNOWN_PROPERTIES


@quick
@given(topic=mqtt_topics(), qos=st.integers(0, 2), payload=st.binary(max_size=50))
def test_outbound_keeps_topic_qos_and_payload_of_any_message(topic: str, qos: int, payload: bytes) -> None:
    mapped = exported(publish(topic=topic, qos=qos, payload=payload))
    assert mapped.body == payload
    assert mapped.properties["topic"] == topic
    assert mapped.properties["qoslevel"] == str(qos)
    assert parent_of(topic) + mapped.properties.get("mqttSecondTopic", "") == topic
    assert ("mqttSecondTopic" in mapped.properties) is ("/" in topic)


@pytest.mark.parametrize("payload", [b"", b"\x00", bytes(range(256)), b"\xff\xfe", "ä".encode("latin-1")])
def test_payload_bytes_are_not_touched_in_either_direction(payload: bytes) -> None:
    assert exported(publish(payload=payload)).body == payload
    published = imported(command(body=payload))
    assert isinstance(published, MqttMessage)
    assert published.payload == payload


# Message ids.


def test_an_id_of_32_hexadecimal_digits_is_kept_as_it_is() -> None:
    assert exported(publish(message_id=HEX_ID)).message_id == HEX_ID


@pytest.mark.parametrize(
    "source_id", ["", "m-1", HEX_ID[:-1], HEX_ID + "0", HEX_ID[:-1] + "G", "\u0661" * 32, "\ud800"]
)
def test_any_other_id_is_derived_and_stays_the_same(source_id: str) -> None:
    first = exported(publish(message_id=source_id, payload=b"1")).message_id
    again = exported(publish(message_id=source_id, payload=b"1")).message_id
    assert first == again
    assert first != source_id
    assert len(first) == 32
    assert set(first) <= set("0123456789ABCDEF")


@quick
@given(one=any_text, other=any_text)
def test_different_ids_stay_different(one: str, other: str) -> None:
    ids = [exported(publish(message_id=each)).message_id for each in (one, other)]
    assert (ids[0] == ids[1]) is (one == other)


def test_the_derived_id_carries_the_source_s_time() -> None:
    # RocketMQ's query by key reads milliseconds since the month began from bytes 10 to 14 (MessageClientIDSetter).
    derived = exported(publish(message_id="m", time_ms=1_767_225_600_000 + 123_456)).message_id
    assert int(derived[20:28], 16) == 123_456


@pytest.mark.parametrize("time_ms", [-62_135_596_800_001, -1, 0, 253_402_300_799_999, 1 << 52, (1 << 53) - 1])
def test_no_time_of_a_source_makes_planning_fail(time_ms: int) -> None:
    """A time from a device's or platform's broken clock is no reason to lose the message, nor a defect of ours."""
    assert isinstance(by_rule(publish(message_id="m", time_ms=time_ms)), Send)


# Sharding.


@quick
@given(one=mqtt_topics(), other=mqtt_topics(), client=unicode_text)
def test_messages_of_one_client_share_a_sharding_key_and_without_client_those_of_one_topic(
    one: str, other: str, client: str
) -> None:
    keys = [exported(publish(topic=topic, client_id=client)).sharding_key for topic in (one, other)]
    assert (keys[0] == keys[1]) is (bool(client) or one == other)
    assert all(keys)


# Inbound.


@pytest.mark.parametrize(
    "case", [case for case in case_file("inbound-mapping.json") if "publish" in case], ids=lambda case: case["name"]
)
def test_inbound_follows_the_table(case: dict[str, Any]) -> None:
    protocol = case.get("protocol_version", 5)
    published = imported(command(case["properties"]), protocol=protocol)
    assert isinstance(published, MqttMessage), published
    expected = {"user_properties": [], "message_expiry_interval": None, "content_type": "", **case["publish"]}
    assert {
        "topic": published.topic,
        "qos": published.qos,
        "user_properties": without_mark(published),
        "message_expiry_interval": published.message_expiry_interval,
        "content_type": published.content_type,
    } == expected
    assert published.retain is False
    assert (published.instance_id, published.payload) == ("mqtt-local", b"body")
    if protocol == 4:
        assert published.user_properties == (), "MQTT 3.1.1 has no user properties, not even the mark"


@pytest.mark.parametrize(
    "case", [case for case in case_file("inbound-mapping.json") if "reject" in case], ids=lambda case: case["name"]
)
def test_inbound_rejects_what_cannot_be_published_and_names_the_property(case: dict[str, Any]) -> None:
    rejected = imported(command(case["properties"]))
    assert isinstance(rejected, Reject), rejected
    assert rejected.reason == case["reject"]
    assert case["names"] in rejected.detail
    assert "expected" in rejected.detail


@pytest.mark.parametrize(
    ("sub_topic", "limit", "is_published"),
    [
        ("/" + "x" * 120, 128, True),  # devices + / + 120 = 128
        ("/" + "x" * 121, 128, False),
        ("x" * 120, 128, True),  # the slash that is added counts
        ("x" * 121, 128, False),
        ("/" + "ä" * 120, 128, True),  # characters, not bytes
        ("/" + "x" * 121, 129, True),
        ("/" + "x" * 60_000, 65_535, True),
        ("", 6, False),
    ],
)
def test_the_topic_is_as_long_as_the_limit_at_most(sub_topic: str, limit: int, is_published: bool) -> None:
    outcome = imported(command({"mqttSecondTopic": sub_topic}), limit=limit)
    assert isinstance(outcome, MqttMessage) is is_published
    if isinstance(outcome, Reject):
        assert outcome.reason == "illegal_topic"
        assert str(limit) in outcome.detail
        assert len(outcome.detail) < 500, "a detail is for people"


def test_user_properties_of_more_than_8_kib_are_rejected_in_both_directions() -> None:
    # The limit counts the serialized JSON in bytes, {"key":..} and all (reference/data-rules.md, 1.2).
    def text(size: int) -> str:
        frame = len(json.dumps([{"key": "k", "value": ""}], separators=(",", ":")))
        return json.dumps([{"key": "k", "value": "v" * (size - frame)}], separators=(",", ":"))

    for size, is_sent in ((8192, True), (8193, False)):
        assert len(text(size)) == size
        inward = imported(command({"mqtt5UserProperty": text(size)}))
        value = json.loads(text(size))[0]["value"]
        outward = by_rule(publish(user_properties=(("k", value),)))
        assert isinstance(inward, MqttMessage) is is_sent
        assert isinstance(outward, Send) is is_sent
        for outcome in (inward, outward):
            if isinstance(outcome, Reject):
                assert outcome.reason == "user_properties_too_large"
                assert "8192" in outcome.detail


def test_the_8_kib_are_bytes_not_characters() -> None:
    assert isinstance(by_rule(publish(user_properties=(("k", "温" * 3_000),))), Reject)
    assert isinstance(by_rule(publish(user_properties=(("k", "x" * 3_000),))), Send)


# What must not reach RocketMQ's property block.


@pytest.mark.parametrize("separator", ["\x01", "\x02"])
@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("topic", {"topic": "devices/a{}DELAY"}),
        ("clientId", {"client_id": "c{}UNIQ_KEY"}),
        ("mqtt5ContentType", {"content_type": "t{}TAGS"}),
    ],
)
def test_a_separator_in_a_device_s_text_is_that_record_s_own_reject(
    separator: str, field: str, changes: dict[str, str]
) -> None:
    bad = publish(**{name: text.format(separator) for name, text in changes.items()})
    plan = outbound.plan([record(publish(), "before"), record(bad, "bad"), record(publish(), "after")], both_ways())
    before, rejected, after = [planned.outcome for planned in plan]
    assert isinstance(rejected, Reject)
    assert rejected.reason == "illegal_message"
    assert field in rejected.detail
    assert isinstance(before, Send)
    assert isinstance(after, Send)


@pytest.mark.parametrize("separator", ["\x01", "\x02"])
def test_a_separator_in_a_user_property_stays_inside_its_json(separator: str) -> None:
    """JSON escapes control characters, so the text is harmless there and arrives whole."""
    hostile = (f"k{separator}UNIQ_KEY{separator}", f"{separator}TAGS{separator}v")
    mapped = exported(publish(user_properties=(hostile,)))
    found = dict(on_the_wire(mapped))
    assert set(found) <= KNOWN_PROPERTIES
    assert json.loads(found["mqtt5UserProperty"]) == [{"key": hostile[0], "value": hostile[1]}]


@pytest.mark.parametrize("name", RESERVED)
def test_a_user_property_of_a_reserved_name_is_data_and_no_instruction(name: str) -> None:
    mapped = exported(publish(user_properties=((name, "9"),), qos=1))
    found = on_the_wire(mapped)
    assert {each for each, _ in found} <= KNOWN_PROPERTIES
    assert ("qoslevel", "1") in found
    assert ("UNIQ_KEY", mapped.message_id) in found


@quick
@given(
    topic=any_text,
    client=any_text,
    content_type=any_text,
    properties=st.lists(st.tuples(any_text | st.sampled_from(RESERVED), any_text), max_size=3),
)
def test_whatever_a_device_writes_the_block_holds_the_known_properties_once_or_the_record_is_rejected(
    topic: str, client: str, content_type: str, properties: list[tuple[str, str]]
) -> None:
    outcome = by_rule(
        publish(
            topic=f"devices/{topic}", client_id=client, content_type=content_type, user_properties=tuple(properties)
        )
    )
    if isinstance(outcome, Reject):
        assert outcome.reason == "illegal_message"
        return
    (mapped,) = outcome.messages
    assert isinstance(mapped, RocketMQMessage)
    found = on_the_wire(mapped)
    names = [name for name, _ in found]
    assert set(names) <= KNOWN_PROPERTIES
    assert len(names) == len(set(names))
    assert dict(found) == {"UNIQ_KEY": mapped.message_id, **mapped.properties}


# There and back.


@quick
@given(
    topic=mqtt_topics(),
    qos=st.integers(0, 2),
    payload=st.binary(max_size=30),
    properties=user_properties,
    expiry=st.none() | st.integers(0, 0xFFFFFFFF),
    content_type=mqtt_text,
)
def test_out_and_back_in_keeps_topic_qos_payload_and_mqtt_5_properties(
    topic: str, qos: int, payload: bytes, properties: tuple[tuple[str, str], ...], expiry: int | None, content_type: str
) -> None:
    sent = publish(
        topic=topic,
        qos=qos,
        payload=payload,
        user_properties=properties,
        message_expiry_interval=expiry,
        content_type=content_type,
    )
    mapped = exported(sent)
    try:
        stored = command({name: value for name, value in on_the_wire(mapped) if name != "UNIQ_KEY"}, body=mapped.body)
    except IllegalMessage:
        assert {"\x01", "\x02"} & set(topic + content_type), "only RocketMQ's separators may not travel"
        return
    back = imported(stored, parent=parent_of(topic), limit=65_535)
    assert isinstance(back, MqttMessage), back
    assert (back.topic, back.qos, back.payload) == (topic, qos, payload)
    assert back.user_properties[:-1] == properties
    assert (back.message_expiry_interval, back.content_type) == (expiry, content_type)
    assert is_echo(back)


@quick
@given(parent=parents, levels=st.lists(levels, min_size=1, max_size=3))
def test_inbound_adds_one_slash_where_it_is_missing_and_none_where_it_is_not(parent: str, levels: list[str]) -> None:
    sub_topic = "/".join(levels)
    published = imported(command({"mqttSecondTopic": sub_topic}), parent=parent, limit=65_535)
    assert isinstance(published, MqttMessage)
    expected = parent if not sub_topic else parent + ("" if sub_topic.startswith("/") else "/") + sub_topic
    assert published.topic == expected


@quick
@given(
    properties=st.dictionaries(
        st.sampled_from(
            [
                "mqttSecondTopic",
                "qoslevel",
                "mqtt5UserProperty",
                "mqtt5MsgExpireInterval",
                "mqtt5ContentType",
                "mqttRealTopic",
                ORIGIN,
            ]
        ),
        any_text,
    ),
    body=st.binary(max_size=10),
)
def test_whatever_a_back_end_writes_is_published_under_the_parent_or_rejected(
    properties: dict[str, str], body: bytes
) -> None:
    outcome = imported(command(properties, body=body))
    if isinstance(outcome, Reject):
        return
    assert outcome.topic == "devices" or outcome.topic.startswith("devices/")
    assert outcome.payload == body
    assert not set("+#\0") & set(outcome.topic)
    texts = [outcome.topic, outcome.content_type, *(text for pair in outcome.user_properties for text in pair)]
    assert all(text.encode() is not None and "\0" not in text for text in texts)
