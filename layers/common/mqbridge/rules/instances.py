"""The brokers that rules name, and the managed service's limits."""

import re

from .kinds import Choice, ListOf, Secret, Section, Text, Whole, setting
from .names import GROUP, INSTANCE_ID, MQTT_PARENT, REGION, ROCKETMQ_TOPIC
from .sections import Declaration

__all__ = [
    "ClientIdFrom",
    "Instances",
    "Limits",
    "MessageIdFrom",
    "MqttInstance",
    "PresenceFrom",
    "RocketMQInstance",
    "Tls",
]

# 1 to 65535, as a JSON Schema can say it too.
_PORT = "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
# An ApsaraMQ 4.0 instance: its host name begins with its id (Java's NameServerAddressUtils).
_APSARA_ENDPOINT = re.compile(rf"http://((MQ_INST_[A-Za-z0-9_]+)\.[^\s:/]+)(:{_PORT})?/?")
_APSARA_PORT = 80
_ADDRESS = Text(
    "host:port, or http://MQ_INST_....host[:port] of an ApsaraMQ 4.0 instance, with a port of 1 to 65535",
    rf"[^\s:/]+:{_PORT}|\[[0-9a-fA-F:.]+\]:{_PORT}|{_APSARA_ENDPOINT.pattern}",
)
_PATH = Text("a file's path", r".+")
# ID-ats.iot.REGION.amazonaws.com, also of VPC endpoints (ID.data.iot.REGION.vpce.amazonaws.com).
_AWS_IOT = re.compile(r"\.iot\.([a-z0-9-]+)\.(?:vpce\.)?amazonaws\.com(?:\.cn)?(?::[0-9]+)?/?$")


class Tls(Declaration):
    """TLS of a connection. Certificates are verified always; without Ca or CaFile, against the system's."""

    ca_file: str | None = setting(
        "CaFile", _PATH, default=None, doc="PEM file of the authorities to trust.", example="ca.pem"
    )
    ca: str | None = setting("Ca", Secret(), default=None, doc="Their PEM text by reference, instead of CaFile.")
    cert_file: str | None = setting("CertFile", _PATH, default=None, doc="PEM certificate of this client (mutual TLS).")
    cert: str | None = setting(
        "Cert",
        Secret(),
        default=None,
        doc="The certificate's PEM text by reference, instead of CertFile.",
        example="secretsmanager:mqbridge/iot#certificate",
    )
    key_file: str | None = setting("KeyFile", _PATH, default=None, doc="PEM key of the certificate, not encrypted.")
    key: str | None = setting(
        "Key",
        Secret(),
        default=None,
        doc="The key's PEM text by reference, instead of KeyFile.",
        example="secretsmanager:mqbridge/iot#key",
    )
    alpn: str | None = setting(
        "Alpn",
        Text("the name of a protocol, at most 255 printable characters", r"[!-~]{1,255}"),
        default=None,
        doc="The protocol that is asked for (ALPN). AWS IoT Core on port 443 wants x-amzn-mqtt-ca, or mqtt with a custom authorizer.",
        example="x-amzn-mqtt-ca",
    )


class ClientIdFrom(Declaration):
    """Where the runner finds the publisher's client id, which a subscriber is not told. One of the two."""

    topic_level: int | None = setting(
        "TopicLevel",
        Whole("a topic level, 2 to 128", 2, 128),
        default=None,
        doc="The topic level that is the client id, from 1.",
    )
    user_property: str | None = setting(
        "UserProperty", Text("a user property's name"), default=None, doc="The MQTT 5 user property that holds it."
    )


class MessageIdFrom(Declaration):
    """Where a message's own id stands, which plain MQTT does not have. One of the two."""

    user_property: str | None = setting(
        "UserProperty", Text("a user property's name"), default=None, doc="The MQTT 5 user property that holds it."
    )
    json_path: str | None = setting(
        "JsonPath",
        Text("a path of names, such as $.id or $.meta.id", r"\$(\.[A-Za-z0-9_-]+)+"),
        default=None,
        doc="A path in a JSON payload.",
    )


class PresenceFrom(Declaration):
    """Where the runner finds clients coming and going, on topics of the broker. One of the two."""

    broker: str | None = setting(
        "Broker",
        Choice("Mosquitto", "Emqx"),
        default=None,
        doc="Mosquitto: the log, which it publishes with log_dest topic. Emqx: its $SYS topics.",
    )
    topics: tuple[str, ...] | None = setting(
        "Topics",
        ListOf(Text("a topic filter", r"[^\x00]+", 65_535), minimum=1),
        default=None,
        doc="Topics with events of AWS IoT, EMQX or ApsaraMQ as their payload.",
        example=["$aws/events/presence/#"],
    )


class MqttInstance(Declaration):
    """An MQTT broker."""

    instance_id: str = setting("InstanceId", INSTANCE_ID, doc="The name that rules use.", example="mqtt-local")
    region: str | None = setting(
        "Region", REGION, default=None, doc="Compared with the other side's, where both are given."
    )
    endpoint: str = setting(
        "Endpoint",
        Text(
            "mqtt://host[:port], mqtts://host[:port] or iot-data://host[:port], with a port of 1 to 65535",
            rf"(mqtts?|iot-data)://([^\s:/@\[\]]+|\[[0-9a-fA-F:.]+\])(:{_PORT})?/?",
        ),
        doc="Where the broker listens; mqtts is TLS. iot-data publishes by AWS IoT Core's HTTPS API, with the function's own "
        "permissions; nothing can be subscribed to by it. The ports default to 1883, 8883 and 443.",
        example="mqtt://127.0.0.1:1883",
    )
    version: str | None = setting(
        "Version",
        Text("a kernel version such as V3.3.0", r"[vV]?[0-9]+(\.[0-9x]+)*"),
        default=None,
        doc="Kernel version of an ApsaraMQ instance.",
    )
    topics: tuple[str, ...] | None = setting(
        "Topics",
        ListOf(MQTT_PARENT),
        default=None,
        doc="The parent topics that exist; where given, rules may use no other.",
    )
    groups: tuple[str, ...] | None = setting(
        "Groups",
        ListOf(Text("a group id")),
        default=None,
        doc="The group ids that exist; where given, rules may use no other.",
    )
    protocol_version: str = setting(
        "ProtocolVersion",
        Choice("5", "3.1.1"),
        default="5",
        doc="The version to speak. Under 3.1.1 there are no user properties, expiry or content type.",
    )
    client_id_prefix: str = setting(
        "ClientIdPrefix",
        Text("at most 32 printable characters", r"[!-~]{1,32}"),
        default="mqbridge-",
        doc="Begins every client id; ApsaraMQ needs GroupID@@@ here.",
        example="GID_bridge@@@",
    )
    username: str | None = setting(
        "Username", Text("a user name"), default=None, doc="User name, or a reference to it."
    )
    password: str | None = setting("Password", Secret(), default=None, doc="Password.", example="env:MQTT_PASSWORD")
    tls: Tls | None = setting("Tls", Section(Tls), default=None, doc="TLS files; meaningful with an mqtts endpoint.")
    auth: str | None = setting(
        "Auth",
        Choice("ApsaraSignature"),
        default=None,
        doc="ApsaraMQ's signature of the client id instead of a password.",
    )
    access_key: str | None = setting(
        "AccessKey", Secret(), default=None, doc="For ApsaraSignature.", example="env:ACCESS_KEY"
    )
    secret_key: str | None = setting(
        "SecretKey", Secret(), default=None, doc="For ApsaraSignature.", example="env:SECRET_KEY"
    )
    session_expiry_s: int = setting(
        "SessionExpiry",
        Whole("seconds, 0 to 4294967295", 0, 0xFFFFFFFF),
        default=259_200,
        unit="s",
        doc="How long the broker keeps a stopped runner's messages; three days, as ApsaraMQ keeps offline messages.",
    )
    client_id_from: ClientIdFrom | None = setting(
        "ClientIdFrom", Section(ClientIdFrom), default=None, doc="Where the runner finds the publisher's client id."
    )
    message_id_from: MessageIdFrom | None = setting(
        "MessageIdFrom", Section(MessageIdFrom), default=None, doc="Where the runner finds a message's own id."
    )
    presence_from: PresenceFrom | None = setting(
        "PresenceFrom",
        Section(PresenceFrom),
        default=None,
        doc="Where the runner finds clients coming and going, for status rules.",
    )
    subscribe_qos: int = setting(
        "SubscribeQoS",
        Whole("1 or 2", 1, 2),
        default=1,
        doc="2 avoids duplicates between broker and runner, for two packets more a message; a crash loses none either way.",
    )

    @property
    def is_iot_data(self) -> bool:
        """Whether messages are published by AWS IoT Core's HTTPS API."""
        return self.endpoint.startswith("iot-data:")

    @property
    def is_aws_iot(self) -> bool:
        """Whether the broker is AWS IoT Core, as far as its address tells."""
        return self.is_iot_data or _AWS_IOT.search(self.endpoint) is not None

    @property
    def aws_region(self) -> str:
        """The region in the address of AWS IoT Core, "" if there is none."""
        match = _AWS_IOT.search(self.endpoint)
        return match[1] if match else ""

    @property
    def protocol_level(self) -> int:
        """The protocol level byte of CONNECT: 5, or 4 for MQTT 3.1.1."""
        return 5 if self.protocol_version == "5" else 4


class RocketMQInstance(Declaration):
    """A RocketMQ cluster."""

    instance_id: str = setting("InstanceId", INSTANCE_ID, doc="The name that rules use.", example="rmq-local")
    region: str | None = setting(
        "Region", REGION, default=None, doc="Compared with the other side's, where both are given."
    )
    version: str = setting(
        "Version",
        Text("a version such as 4.x or 5.3.1", r"[45](\.[0-9x]+)*"),
        default="4.x",
        doc="Version of the cluster.",
    )
    name_servers: tuple[str, ...] = setting(
        "NameServers",
        ListOf(_ADDRESS, minimum=1),
        doc="Name servers, any of which will do; for an ApsaraMQ 4.0 instance its TCP endpoint.",
        example=["127.0.0.1:9876"],
    )
    topics: tuple[str, ...] | None = setting(
        "Topics",
        ListOf(ROCKETMQ_TOPIC),
        default=None,
        doc="The topics that exist; where given, rules may use no other.",
    )
    groups: tuple[str, ...] | None = setting(
        "Groups",
        ListOf(GROUP),
        default=None,
        doc="The consumer groups that exist; where given, rules may use no other.",
    )
    access_key: str | None = setting(
        "AccessKey", Secret(), default=None, doc="Access control.", example="env:ACCESS_KEY"
    )
    secret_key: str | None = setting(
        "SecretKey", Secret(), default=None, doc="Access control.", example="env:SECRET_KEY"
    )
    security_token: str | None = setting("SecurityToken", Secret(), default=None, doc="Of temporary access keys.")
    tls: Tls | None = setting("Tls", Section(Tls), default=None, doc="Speak TLS; {} trusts the system's authorities.")
    client: str = setting(
        "Client",
        Choice("remoting", "native"),
        default="remoting",
        doc="Who sends. native needs librocketmq and mqbridge[native], and knows neither Tls nor SecurityToken.",
    )

    @property
    def addresses(self) -> tuple[str, ...]:
        """host:port of every name server."""
        found = ((address, _APSARA_ENDPOINT.fullmatch(address)) for address in self.name_servers)
        return tuple(f"{match[1]}{match[3] or f':{_APSARA_PORT}'}" if match else plain for plain, match in found)

    @property
    def namespace(self) -> str:
        """The id of an ApsaraMQ 4.0 instance, which begins its topics and groups on the wire; "" for any other cluster."""
        match = _APSARA_ENDPOINT.fullmatch(self.name_servers[0])
        return match[2] if match else ""

    @property
    def has_one_namespace(self) -> bool:
        """Whether all name servers are of one instance."""
        found = (_APSARA_ENDPOINT.fullmatch(address) for address in self.name_servers)
        return len({match[2] if match else "" for match in found}) == 1


class Instances(Declaration):
    """The brokers that rules name."""

    mqtt: tuple[MqttInstance, ...] = setting(
        "Mqtt", ListOf(Section(MqttInstance), keeps_faulty=True), default=(), doc="MQTT brokers."
    )
    rocketmq: tuple[RocketMQInstance, ...] = setting(
        "RocketMQ", ListOf(Section(RocketMQInstance), keeps_faulty=True), default=(), doc="RocketMQ clusters."
    )


class Limits(Declaration):
    """The managed service's limits, each of which can be lifted."""

    rules_per_instance: int = setting(
        "RulesPerInstance",
        Whole("1 to 100000", 1, 100_000),
        default=100,
        doc="Data and status rules of one MQTT instance.",
    )
    rocketmq_versions: tuple[str, ...] = setting(
        "RocketMQVersions",
        ListOf(Choice("4.x", "5.x"), minimum=1),
        default=("4.x",),
        doc="Versions that data rules may use.",
    )
    cross_region: str = setting(
        "CrossRegion", Choice("Refused", "Allowed"), default="Refused", doc="Rules between two regions."
    )
    max_topic_length: int = setting(
        "MaxTopicLength",
        Whole("1 to 65535 characters", 1, 65_535),
        default=128,
        unit="characters",
        doc="Total length of a topic that an inbound rule publishes to.",
    )
    names: str = setting(
        "Names",
        Choice("Managed", "Mqtt"),
        default="Managed",
        doc="Managed: parent topics of 3 to 64 letters, digits, '-', '_', groups GID_... or GID-...; Mqtt: whatever MQTT allows.",
    )
