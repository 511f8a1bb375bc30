"""A document of rule tests: what is given, by which rule, and what is to come of it. Declared and read as rules documents are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any

from mqbridge.rules import Fault, Rule, Rules
from mqbridge.rules.declarations import (
    INSTANCE_ID,
    INVALID,
    Choice,
    Flag,
    ListOf,
    MappingOf,
    OneOf,
    Path,
    Position,
    Raw,
    Section,
    Text,
    Whole,
    close_to,
    read_declared,
    setting,
    wrong,
)

__all__ = [
    "ABSENT",
    "Expect",
    "ExpectDeadLetter",
    "ExpectedMessage",
    "Given",
    "GivenPublish",
    "GivenRocketMQ",
    "RuleTest",
    "RuleTests",
    "TestDocument",
    "read_tests",
]

ABSENT: Any = object()  # nothing was said; null is a JSON value that can be expected
_LARGEST = 4 * 1024 * 1024
_TEXT = Text("text", r".*", _LARGEST)
_BASE64 = Text("Base64 text", r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", _LARGEST)
_FILE = Text("a file's path, relative to this file")
_JSON = Raw("a JSON value", lambda _value: True)
_QOS = Whole("0, 1 or 2", 0, 2)
_EXPIRY = Whole("seconds, 0 to 4294967295", 0, 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class PropertyText:
    """The value of a property, which is text; with `takes_null`, null is a property that must not be there."""

    takes_null: bool = False

    @property
    def what(self) -> str:
        """Say what is expected."""
        return "text, or null for what must not be there" if self.takes_null else "text"

    def read(self, value: Any, path: Path, faults: list[Fault]) -> Any:
        """Return the text."""
        if isinstance(value, str) or (self.takes_null and value is None):
            return value
        hint = "put it in quotes: properties are text" if isinstance(value, int | float) else ""
        faults.append(replace(wrong(path, self.what, value), help=hint))
        return INVALID


_GIVEN_PROPERTIES = MappingOf(PropertyText(), "names to values")
_EXPECTED_PROPERTIES = MappingOf(PropertyText(takes_null=True), "names to values")


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenPublish:
    """What a device publishes. Without a payload it is empty."""

    topic: str = setting(
        "Topic",
        Text("a topic, without '+', '#' or NUL", r"[^+#\x00]+", 65_535),
        doc="The full topic.",
        example="devices/d1/up",
    )
    payload: str | None = setting("Payload", _TEXT, default=None, doc="The payload, as text.", example='{"t": 93}')
    payload_file: str | None = setting("PayloadFile", _FILE, default=None, doc="A file that holds the payload.")
    payload_base64: str | None = setting("PayloadBase64", _BASE64, default=None, doc="The payload in Base64.")
    qos: int = setting("Qos", _QOS, default=1, doc="The QoS that it is delivered with.")
    retain: bool = setting("Retain", Flag(), default=False, doc="The RETAIN flag.")
    client_id: str = setting(
        "ClientId", _TEXT, default="", doc="Who published it, where the source knows.", example="GID_x@@@d1"
    )
    user_properties: Mapping[str, str] | None = setting(
        "UserProperties", _GIVEN_PROPERTIES, default=None, doc="MQTT 5 user properties."
    )
    message_expiry_interval: int | None = setting(
        "MessageExpiryInterval", _EXPIRY, default=None, unit="s", doc="MQTT 5 message expiry interval."
    )
    content_type: str = setting("ContentType", _TEXT, default="", doc="MQTT 5 content type.")
    protocol_version: str = setting("ProtocolVersion", Choice("5", "3.1.1"), default="5", doc="How it was delivered.")
    instance_id: str = setting("Instance", INSTANCE_ID, default="", doc="The MQTT instance, if there are several.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenRocketMQ:
    """What a back end sends to a RocketMQ topic. Without a body it is empty."""

    topic: str = setting("Topic", Text("a topic"), doc="The topic.", example="commands")
    body: str | None = setting("Body", _TEXT, default=None, doc="The body, as text.", example="on")
    body_file: str | None = setting("BodyFile", _FILE, default=None, doc="A file that holds the body.")
    body_base64: str | None = setting("BodyBase64", _BASE64, default=None, doc="The body in Base64.")
    tags: str = setting("Tags", _TEXT, default="", doc="The tag.")
    keys: str = setting("Keys", _TEXT, default="", doc="The message keys, separated by blanks.")
    properties: Mapping[str, str] | None = setting(
        "Properties",
        _GIVEN_PROPERTIES,
        default=None,
        doc="The user properties.",
        example={"mqttSecondTopic": "/d1/set"},
    )
    instance_id: str = setting("Instance", INSTANCE_ID, default="", doc="The RocketMQ instance, if there are several.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What happens, one of three."""

    publish: GivenPublish | None = setting("Publish", Section(GivenPublish), default=None, doc="A PUBLISH of a device.")
    rocketmq: GivenRocketMQ | None = setting(
        "RocketMQ", Section(GivenRocketMQ), default=None, doc="A message in a RocketMQ topic."
    )
    event: str | None = setting(
        "Event", _FILE, default=None, doc="A file with any event that dry-run reads.", example="event.json"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectNone:
    """Nothing is sent: the record is dropped on purpose."""

    reason: str | None = setting(
        "Reason", Text("a reason"), default=None, doc="Why, in the word that dry-run has.", example="filtered"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectDeadLetter:
    """The record goes to a dead-letter queue, and nothing else is sent."""

    reason: str | None = setting(
        "Reason", Text("a reason"), default=None, doc="The envelope's reason.", example="unreadable_record"
    )
    stage: str | None = setting(
        "Stage", Text("a stage"), default=None, doc="The envelope's stage.", example="processing"
    )
    detail: str | None = setting("DetailContains", Text("text"), default=None, doc="Part of the envelope's detail.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedMessage:
    """A message that is sent. What is left out is not compared."""

    topic: str | None = setting("Topic", _TEXT, default=None, doc="The topic that it is sent to.", example="alarms")
    instance: str | None = setting("Instance", INSTANCE_ID, default=None, doc="The instance that it is sent to.")
    body: str | None = setting("Body", _TEXT, default=None, doc="RocketMQ: the body, as text.")
    body_json: Any = setting("BodyJson", _JSON, default=ABSENT, doc="RocketMQ: the JSON value of the body.")
    body_contains: Any = setting("BodyContains", _JSON, default=ABSENT, doc="RocketMQ: part of the body's JSON value.")
    body_base64: str | None = setting("BodyBase64", _BASE64, default=None, doc="RocketMQ: the body in Base64.")
    tags: str | None = setting("Tags", _TEXT, default=None, doc="RocketMQ: the tag; empty for none.", example="hot")
    keys: str | None = setting("Keys", _TEXT, default=None, doc="RocketMQ: the message keys; empty for none.")
    sharding_key: str | None = setting("ShardingKey", _TEXT, default=None, doc="RocketMQ: what keeps its order.")
    properties: Mapping[str, str | None] | None = setting(
        "Properties", _EXPECTED_PROPERTIES, default=None, doc="RocketMQ: user properties; others may be there."
    )
    payload: str | None = setting("Payload", _TEXT, default=None, doc="MQTT: the payload, as text.")
    payload_json: Any = setting("PayloadJson", _JSON, default=ABSENT, doc="MQTT: the JSON value of the payload.")
    payload_contains: Any = setting(
        "PayloadContains", _JSON, default=ABSENT, doc="MQTT: part of the payload's JSON value."
    )
    payload_base64: str | None = setting("PayloadBase64", _BASE64, default=None, doc="MQTT: the payload in Base64.")
    qos: int | None = setting("Qos", _QOS, default=None, doc="MQTT: the QoS.")
    user_properties: Mapping[str, str | None] | None = setting(
        "UserProperties",
        _EXPECTED_PROPERTIES,
        default=None,
        doc="MQTT 5: user properties; others may be there.",
    )
    message_expiry_interval: int | None = setting(
        "MessageExpiryInterval", _EXPIRY, default=None, unit="s", doc="MQTT 5: the message expiry interval."
    )
    content_type: str | None = setting(
        "ContentType", _TEXT, default=None, doc="MQTT 5: the content type; empty for none."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What comes of it, all of it, one of three."""

    nothing: ExpectNone | None = setting("None", Section(ExpectNone), default=None, doc="Nothing is sent.")
    dead_letter: ExpectDeadLetter | None = setting(
        "DeadLetter", Section(ExpectDeadLetter), default=None, doc="A dead letter, and no message."
    )
    messages: tuple[ExpectedMessage, ...] | None = setting(
        "Messages",
        ListOf(Section(ExpectedMessage), minimum=1),
        default=None,
        doc="These messages in this order, no others, and no dead letter.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTest:
    """One test."""

    name: str = setting(
        "Name",
        Text("a name of one line", r"[^\n]+", 200),
        doc="What must hold, as a sentence; unique in its file.",
        example="a hot reading becomes an alarm",
    )
    given: Given = setting("Given", OneOf(Given, "one of Publish, RocketMQ and Event"), doc="What happens.")
    rule: str | None = setting(
        "Rule",
        Text("the name of a rule or task"),
        default=None,
        doc="Look at this rule or task only.",
        example="telemetry",
    )
    expect: Expect = setting("Expect", OneOf(Expect, "one of None, DeadLetter and Messages"), doc="What comes of it.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTests:
    """A document of rule tests: `rules.test.yaml` beside `rules.yaml`."""

    tests: tuple[RuleTest, ...] = setting("Tests", ListOf(Section(RuleTest), keeps_faulty=True), doc="The tests.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TestDocument:
    """The tests of a file, and where each begins."""

    __test__ = False  # for pytest: no class of tests

    tests: tuple[RuleTest, ...]
    positions: tuple[Position, ...]


def read_tests(path: FilePath, rules: Rules) -> TestDocument:
    """Read the tests of `rules`.

    Raises:
        UnreadableRules: there is no such file, or it is not in the format that its name says.
        InvalidRules: carries every fault of the document, each with its place.
    """
    declared = read_declared(path, RuleTests, lambda document: _faults(document, rules))
    places = tuple(declared.place(("Tests", at)) for at in range(len(declared.value.tests)))
    return TestDocument(tests=declared.value.tests, positions=places)


# Attributes of which one may be given, and their keys.
_PAYLOAD = {"payload": "Payload", "payload_file": "PayloadFile", "payload_base64": "PayloadBase64"}
_BODY = {"body": "Body", "body_file": "BodyFile", "body_base64": "BodyBase64"}


def _faults(document: RuleTests, rules: Rules) -> Iterator[Fault]:
    of_all_kinds: list[Rule] = [*rules.outbound, *rules.inbound, *rules.status, *rules.streamings]
    known = [rule.rule_id for rule in of_all_kinds]
    names: dict[str, int] = {}
    for at, test in enumerate(document.tests):
        if test is INVALID:
            continue
        path: Path = ("Tests", at)
        if test.name in names:
            got = f"{test.name!r} again, as in Tests[{names[test.name]}].Name"
            yield Fault(code="MB202", path=(*path, "Name"), expected="a Name of its own", got=got)
        names.setdefault(test.name, at)
        if test.rule is not None and test.rule not in known:
            expected = f"a rule or task of the rules ({', '.join(known) or 'there is none'})"
            hint = close_to(test.rule, known)
            yield Fault(code="MB401", path=(*path, "Rule"), expected=expected, got=repr(test.rule), help=hint)
        if test.given.publish is not None:
            yield from _at_most_one((*path, "Given", "Publish"), test.given.publish, _PAYLOAD)
        if test.given.rocketmq is not None:
            yield from _at_most_one((*path, "Given", "RocketMQ"), test.given.rocketmq, _BODY)


def _at_most_one(path: Path, section: Any, keys: Mapping[str, str]) -> Iterator[Fault]:
    said = [key for name, key in keys.items() if getattr(section, name) is not None]
    if len(said) > 1:
        expected = f"at most one of {', '.join(keys.values())}"
        yield Fault(code="MB212", path=path, expected=expected, got=" and ".join(said))
