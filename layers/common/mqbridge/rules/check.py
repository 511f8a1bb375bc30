"""What must hold between the parts of a document: references, uniqueness, the managed service's limits. Pure.

Limits: reference of the managed rules (one rule of each type per parent topic or group, 100 rules an instance, one region, RocketMQ
4.x, MQTT kernel V3); each but the first can be lifted by `Limits`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mqbridge import regexes

from .circles import Step, circles
from .data_rules import InboundRule, OutboundRule, StatusRule, StatusSource
from .document import RulesDocument
from .faults import Fault, Path, format_path
from .instances import MqttInstance, RocketMQInstance, Tls
from .kinds import INVALID, settings_of
from .run_options import DeadLetterQueue, RunOptions

if TYPE_CHECKING:
    from .streamings import EventStreaming

__all__ = ["check"]

_MANAGED_PARENT = re.compile(r"[a-zA-Z0-9_-]{3,64}")
_MANAGED_GROUP = re.compile(r"(?=.{7,64}\Z)GID[_-][a-zA-Z0-9_-]+")

DataRule = OutboundRule | InboundRule | StatusRule


def check(document: RulesDocument, data: Mapping[str, Any]) -> list[Fault]:
    """Return what is wrong between the parts of `document`; `data` is what it was read from.

    Parts that could not be read are INVALID and are passed over: their own faults are known already.
    """
    return list(_Checker(document, data).faults())


class _Checker:
    def __init__(self, document: RulesDocument, data: Mapping[str, Any]) -> None:
        self._document = document
        self._data = data
        self._mqtt = {each.instance_id: each for each in document.instances.mqtt if each is not INVALID}
        self._rocketmq = {each.instance_id: each for each in document.instances.rocketmq if each is not INVALID}

    def faults(self) -> Iterator[Fault]:
        yield from self._instances()
        yield from self._unique_names()
        for path, rule in self._data_rules():
            yield from self._rule(path, rule)
        yield from self._one_rule_per_source()
        yield from self._one_group_per_rule()
        yield from self._rules_per_instance()
        yield from circles(self._steps())
        for at, task in enumerate(self._document.streamings):
            if task is not INVALID:
                yield from self._task(("EventStreamings", at), task)
        yield from self._dead_letter_queues()

    # Instances by themselves.

    def _instances(self) -> Iterator[Fault]:
        for at, instance in enumerate(self._document.instances.mqtt):
            if instance is not INVALID:
                yield from _mqtt_instance(("Instances", "Mqtt", at), instance)
        for at, cluster in _valid(self._document.instances.rocketmq):
            path: Path = ("Instances", "RocketMQ", at)
            if (cluster.access_key is None) != (cluster.secret_key is None):
                missing = "SecretKey" if cluster.secret_key is None else "AccessKey"
                yield Fault(
                    code="MB212", path=(*path, missing), expected="AccessKey and SecretKey together", got="one of them"
                )
            if not cluster.has_one_namespace:
                got = "those of several instances"
                yield Fault(code="MB212", path=(*path, "NameServers"), expected="name servers of one cluster", got=got)
            yield from _tls((*path, "Tls"), cluster.tls)
            if cluster.tls is not None and cluster.tls.alpn is not None:
                got = repr(cluster.tls.alpn)
                yield Fault(code="MB212", path=(*path, "Tls", "Alpn"), expected="none: RocketMQ knows no ALPN", got=got)
            if cluster.client == "native":
                yield from _native(path, cluster)

    def _unique_names(self) -> Iterator[Fault]:
        instances = self._document.instances
        for kind, of_kind in (("Mqtt", instances.mqtt), ("RocketMQ", instances.rocketmq)):
            ids = [((("Instances", kind, at, "InstanceId")), each.instance_id) for at, each in _valid(of_kind)]
            yield from _duplicates(ids, "MB202", "an InstanceId of its own")
        rules = [((*path, "RuleId"), rule.rule_id) for path, rule in self._data_rules()]
        yield from _duplicates(rules, "MB202", "a RuleId of its own")
        tasks = [
            (("EventStreamings", at, "EventStreamingName"), task.name) for at, task in _valid(self._document.streamings)
        ]
        yield from _duplicates(tasks, "MB202", "an EventStreamingName of its own")

    # Data rules.

    def _data_rules(self) -> Iterator[tuple[Path, DataRule]]:
        document = self._document
        lists: tuple[tuple[str, Iterable[DataRule]], ...] = (
            ("OutboundRules", document.outbound),
            ("InboundRules", document.inbound),
            ("StatusRules", document.status),
        )
        for key, rules in lists:
            for at, rule in _valid(rules):
                yield (key, at), rule

    def _rule(self, path: Path, rule: DataRule) -> Iterator[Fault]:
        mqtt_side, rocketmq_side = _sides(rule)
        source, destination = (*path, "Source"), (*path, "Destination")
        mqtt_path, rocketmq_path = (destination, source) if isinstance(rule, InboundRule) else (source, destination)
        yield from self._reference(mqtt_path, "Mqtt", mqtt_side.instance_id)
        yield from self._reference(rocketmq_path, "RocketMQ", rocketmq_side.instance_id)
        if isinstance(rule, StatusRule):
            yield from _selector(source, rule.source)
            if rule.source.group_id is not None:
                yield from self._group((*source, "GroupId"), rule.source.instance_id, rule.source.group_id)
        else:
            parent = rule.source if isinstance(rule, OutboundRule) else rule.destination
            yield from self._parent((*mqtt_path, "Topic"), parent.instance_id, parent.topic)
        if isinstance(rule, InboundRule):
            yield from _start_from((*source, "StartFrom"), rule.source.start_from)
            cluster = self._find(self._rocketmq, rule.source.instance_id)
            if cluster is not None and cluster.groups is not None and rule.consumer_group not in cluster.groups:
                yield _not_listed((*source, "GroupId"), cluster.groups, rule.consumer_group)
        yield from self._listed_topic((*rocketmq_path, "Topic"), rocketmq_side.instance_id, rocketmq_side.topic)
        mqtt, rocketmq = (
            self._find(self._mqtt, mqtt_side.instance_id),
            self._find(self._rocketmq, rocketmq_side.instance_id),
        )
        if mqtt is not None and rocketmq is not None:
            yield from self._managed_limits(path, mqtt, rocketmq)

    def _reference(self, path: Path, kind: str, instance_id: str | None) -> Iterator[Fault]:
        known = self._ids(kind)
        at = (*path, "InstanceId")
        if instance_id is None and len(known) != 1:
            expected = f"the InstanceId of one of {', '.join(known)}" if known else f"an instance in Instances.{kind}"
            yield Fault(code="MB209", path=at, expected=expected, got="nothing")
        elif instance_id is not None and instance_id not in known:
            yield Fault(
                code="MB201",
                path=at,
                expected=f"an InstanceId of Instances.{kind} ({', '.join(known) or 'there is none'})",
                got=repr(instance_id),
            )

    def _ids(self, kind: str) -> list[str]:
        # From the data, so that a fault in an instance does not make every rule that names it faulty too.
        instances = self._data.get("Instances")
        of_kind = instances.get(kind) if isinstance(instances, Mapping) else None
        entries = of_kind if isinstance(of_kind, list) else []
        return [str(each.get("InstanceId")) for each in entries if isinstance(each, Mapping) and "InstanceId" in each]

    def _find(self, instances: Mapping[str, Any], instance_id: str | None) -> Any:
        if instance_id is None:
            return next(iter(instances.values())) if len(instances) == 1 else None
        return instances.get(instance_id)

    def _parent(self, path: Path, instance_id: str | None, topic: str) -> Iterator[Fault]:
        if self._document.limits.names == "Managed" and not _MANAGED_PARENT.fullmatch(topic):
            yield Fault(
                code="MB210",
                path=path,
                expected="a parent topic of 3 to 64 letters, digits, '-' or '_'",
                got=repr(topic),
                help="Limits.Names: Mqtt allows whatever MQTT allows",
            )
        instance = self._find(self._mqtt, instance_id)
        if instance is not None and instance.topics is not None and topic not in instance.topics:
            yield _not_listed(path, instance.topics, topic)

    def _group(self, path: Path, instance_id: str | None, group: str) -> Iterator[Fault]:
        if self._document.limits.names == "Managed" and not _MANAGED_GROUP.fullmatch(group):
            yield Fault(
                code="MB210",
                path=path,
                expected="a group id: GID_ or GID-, then letters, digits, '-' or '_', 7 to 64 characters in all",
                got=repr(group),
                help="Limits.Names: Mqtt allows other names",
            )
        instance = self._find(self._mqtt, instance_id)
        if instance is not None and instance.groups is not None and group not in instance.groups:
            yield _not_listed(path, instance.groups, group)

    def _listed_topic(self, path: Path, instance_id: str | None, topic: str) -> Iterator[Fault]:
        cluster = self._find(self._rocketmq, instance_id)
        if cluster is not None and cluster.topics is not None and topic not in cluster.topics:
            yield _not_listed(path, cluster.topics, topic)

    def _managed_limits(self, path: Path, mqtt: MqttInstance, rocketmq: RocketMQInstance) -> Iterator[Fault]:
        limits = self._document.limits
        if limits.cross_region == "Refused" and mqtt.region and rocketmq.region and mqtt.region != rocketmq.region:
            yield Fault(
                code="MB205",
                path=path,
                expected="both instances in one region",
                got=f"{mqtt.instance_id} in {mqtt.region}, {rocketmq.instance_id} in {rocketmq.region}",
                help="Limits.CrossRegion: Allowed lifts this",
            )
        if not any(allowed[0] == rocketmq.version[0] for allowed in limits.rocketmq_versions):
            yield Fault(
                code="MB206",
                path=path,
                expected=f"a RocketMQ instance of version {' or '.join(limits.rocketmq_versions)}",
                got=f"{rocketmq.instance_id} of version {rocketmq.version}",
                help="Limits.RocketMQVersions lifts this",
            )
        if mqtt.version is not None and mqtt.version.lstrip("vV").split(".")[0] != "3":
            yield Fault(
                code="MB207",
                path=path,
                expected="an MQTT instance of kernel version V3.x.x",
                got=f"{mqtt.instance_id} of version {mqtt.version}",
            )

    def _one_rule_per_source(self) -> Iterator[Fault]:
        fold = str.casefold if self._document.limits.names == "Managed" else str
        for key, rules in (("OutboundRules", self._document.outbound), ("InboundRules", self._document.inbound)):
            parents = []
            for at, rule in _valid(rules):
                parent, end = (
                    (rule.source, "Source") if isinstance(rule, OutboundRule) else (rule.destination, "Destination")
                )
                parents.append(
                    ((key, at, end, "Topic"), (self._instance_id("Mqtt", parent.instance_id), fold(parent.topic)))
                )
            yield from _duplicates(parents, "MB203", "one rule of this type for a parent topic")
        groups = [
            (
                ("StatusRules", at, "Source", rule.source.selector[0]),
                (self._instance_id("Mqtt", rule.source.instance_id), *rule.source.selector),
            )
            for at, rule in _valid(self._document.status)
        ]
        yield from _duplicates(groups, "MB203", "one rule of this type for a group")

    def _one_group_per_rule(self) -> Iterator[Fault]:
        groups = [
            (
                ("InboundRules", at, "Source", "GroupId"),
                (self._instance_id("RocketMQ", rule.source.instance_id), rule.consumer_group),
            )
            for at, rule in _valid(self._document.inbound)
        ]
        # RocketMQ demands it: all members of a group consume the same topics, and share them.
        yield from _duplicates(groups, "MB213", "a consumer group of its own")

    def _rules_per_instance(self) -> Iterator[Fault]:
        limit = self._document.limits.rules_per_instance
        counts: dict[str | None, int] = {}
        for path, rule in self._data_rules():
            instance_id = self._instance_id("Mqtt", _sides(rule)[0].instance_id)
            counts[instance_id] = counts.get(instance_id, 0) + 1
            if counts[instance_id] == limit + 1:
                yield Fault(
                    code="MB204",
                    path=path,
                    expected=f"at most {limit} rules of MQTT instance {instance_id}",
                    got="one more",
                    help="Limits.RulesPerInstance lifts this",
                )

    def _instance_id(self, kind: str, instance_id: str | None) -> str | None:
        known = self._ids(kind)
        return known[0] if instance_id is None and len(known) == 1 else instance_id

    def _steps(self) -> Iterator[Step]:
        """Yield each way from one MQTT parent through a RocketMQ topic to another parent where MQTT 3.1.1 loses the bridge's mark."""
        unmarked = {name for name, instance in self._mqtt.items() if instance.protocol_version == "3.1.1"}
        for _, out in _valid(self._document.outbound):
            for at, into in _valid(self._document.inbound):
                start = (self._instance_id("Mqtt", out.source.instance_id), out.source.topic)
                end = (self._instance_id("Mqtt", into.destination.instance_id), into.destination.topic)
                topics = {
                    (self._instance_id("RocketMQ", side.instance_id), side.topic)
                    for side in (out.destination, into.source)
                }
                if len(topics) == 1 and end[0] in unmarked and "Disabled" not in (out.status, into.status):
                    yield Step(start, end, ("InboundRules", at))

    # Tasks.

    def _task(self, path: Path, task: "EventStreaming") -> Iterator[Fault]:
        source = task.source.mqtt
        source_path = (*path, "Source", "SourceMQTTParameters")
        yield from self._reference(source_path, "Mqtt", source.instance_id)
        yield from self._parent((*source_path, "Topic"), source.instance_id, source.topic)
        sink = task.sink.rocketmq
        sink_path = (*path, "Sink", "SinkRocketMQParameters")
        if sink.instance_id is not None and sink.instance_id.form != "CONSTANT":
            at = (*sink_path, "InstanceId", "Form")
            yield Fault(code="MB104", path=at, expected="CONSTANT", got=sink.instance_id.form)
        else:
            instance_id = sink.instance_id.value if sink.instance_id else None
            yield from self._reference(sink_path, "RocketMQ", instance_id)
            if sink.topic.form == "CONSTANT" and sink.topic.value is not None:
                yield from self._listed_topic((*sink_path, "Topic", "Value"), instance_id, sink.topic.value)
            for place, topic in _routed_topics(task):
                yield from self._listed_topic((*path, "Transforms", *place), instance_id, topic)

    # Run options.

    def _dead_letter_queues(self) -> Iterator[Fault]:
        options: list[tuple[Path, RunOptions]] = [(("Defaults", "RunOptions"), self._document.defaults.run_options)]
        options += [((*path, "RunOptions"), rule.run_options) for path, rule in self._data_rules()]
        options += [
            (("EventStreamings", at, "RunOptions"), task.run_options) for at, task in _valid(self._document.streamings)
        ]
        for path, each in options:
            if each.dead_letter_queue is not None:
                yield from self._dead_letter_queue((*path, "DeadLetterQueue", "Arn"), each.dead_letter_queue)

    def _dead_letter_queue(self, path: Path, queue: DeadLetterQueue) -> Iterator[Fault]:
        if queue.kind != "rocketmq":
            return  # nothing of this document says which queues AWS has
        instance_id, topic = queue.instance_and_topic
        known = self._ids("RocketMQ")
        if instance_id not in known:
            expected = f"an instance of Instances.RocketMQ ({', '.join(known) or 'there is none'})"
            yield Fault(code="MB211", path=path, expected=expected, got=repr(instance_id))
        yield from self._listed_topic(path, instance_id, topic)


def _routed_topics(task: "EventStreaming") -> Iterator[tuple[Path, str]]:
    """Yield the topics that a task's Route operators name, each with its place within Transforms."""
    for at, transform in enumerate(task.transforms):
        route = transform.route
        if route is not None:
            if route.default_topic is not None:
                yield (at, "Route", "defaultTopic"), route.default_topic
            for number, rule in enumerate(route.rules):
                for index, topic in enumerate(rule.target_topics):
                    yield (at, "Route", "rules", number, "targetTopics", index), topic


def _sides(rule: DataRule) -> tuple[Any, Any]:
    """Return the rule's MQTT side and its RocketMQ side."""
    return (rule.destination, rule.source) if isinstance(rule, InboundRule) else (rule.source, rule.destination)


def _valid(items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    return ((at, item) for at, item in enumerate(items) if item is not INVALID)


def _duplicates(entries: Iterable[tuple[Path, Any]], code: str, expected: str) -> Iterator[Fault]:
    first: dict[Any, Path] = {}
    for path, value in entries:
        if value in first:
            shown = value[-1] if isinstance(value, tuple) else value
            yield Fault(
                code=code, path=path, expected=expected, got=f"{shown!r} again, as in {format_path(first[value])}"
            )
        else:
            first[value] = path


def _not_listed(path: Path, listed: tuple[str, ...], got: str) -> Fault:
    return Fault(code="MB208", path=path, expected=f"one that the instance lists ({', '.join(listed)})", got=repr(got))


def _mqtt_instance(path: Path, instance: MqttInstance) -> Iterator[Fault]:
    if instance.auth == "ApsaraSignature":
        for key, value in (("AccessKey", instance.access_key), ("SecretKey", instance.secret_key)):
            if value is None:
                yield Fault(
                    code="MB212", path=(*path, key), expected="a key, as Auth is ApsaraSignature", got="nothing"
                )
        if instance.username is not None or instance.password is not None:
            at = (*path, "Username" if instance.username is not None else "Password")
            yield Fault(code="MB212", path=at, expected="none beside Auth: ApsaraSignature", got="one")
    choices: tuple[tuple[str, Any], ...] = (
        ("ClientIdFrom", instance.client_id_from),
        ("MessageIdFrom", instance.message_id_from),
        ("PresenceFrom", instance.presence_from),
    )
    for key, choice in choices:
        if choice is not None and sum(getattr(choice, name) is not None for name in settings_of(type(choice))) != 1:
            yield Fault(code="MB212", path=(*path, key), expected="exactly one of its keys", got="none or both")
    if instance.tls is not None and instance.endpoint.startswith("mqtt:"):
        yield Fault(
            code="MB212", path=(*path, "Tls"), expected="an mqtts endpoint with it", got=repr(instance.endpoint)
        )
    if instance.is_iot_data:
        # AWS's own credentials sign the requests, those of the function's role.
        settings: tuple[tuple[str, Any], ...] = (
            ("Username", instance.username),
            ("Password", instance.password),
            ("Auth", instance.auth),
            ("Tls", instance.tls),
            ("PresenceFrom", instance.presence_from),
        )
        for key, value in settings:
            if value is not None:
                got = repr(instance.endpoint)
                yield Fault(code="MB212", path=(*path, key), expected="an mqtts endpoint with it", got=got)
    yield from _tls((*path, "Tls"), instance.tls)


def _tls(path: Path, tls: Tls | None) -> Iterator[Fault]:
    if tls is None:
        return
    for name in ("ca", "cert", "key"):
        if getattr(tls, name) is not None and getattr(tls, f"{name}_file") is not None:
            key = name.capitalize()
            yield Fault(code="MB212", path=(*path, key), expected=f"either {key} or {key}File", got="both")
    if (tls.cert or tls.cert_file) is None and (tls.key or tls.key_file) is None:
        return
    if (tls.cert or tls.cert_file) is None or (tls.key or tls.key_file) is None:
        expected = "CertFile and KeyFile together, or Cert and Key, which are references to the same"
        yield Fault(code="MB212", path=path, expected=expected, got="one of them")


def _native(path: Path, cluster: RocketMQInstance) -> Iterator[Fault]:
    # librocketmq's C functions have no parameter for either.
    for key, value in (("Tls", cluster.tls), ("SecurityToken", cluster.security_token)):
        if value is not None:
            yield Fault(
                code="MB212",
                path=(*path, key),
                expected="none beside Client: native, which has no means for it",
                got="one",
                help="leave Client out: the default client has",
            )


def _selector(path: Path, source: StatusSource) -> Iterator[Fault]:
    given = {
        "GroupId": source.group_id,
        "ClientIdPrefix": source.client_id_prefix,
        "ClientIdPattern": source.client_id_pattern,
    }
    said = [key for key, value in given.items() if value is not None]
    if len(said) != 1:
        expected = f"exactly one of {', '.join(given)}"
        yield Fault(code="MB212", path=path, expected=expected, got=" and ".join(said) or "none of them")
    if source.client_id_pattern is not None:
        try:
            regexes.compile(source.client_id_pattern)
        except regexes.InvalidRegex as error:
            at = (*path, "ClientIdPattern")
            yield Fault(code="MB104", path=at, expected="a regular expression (RE2)", got=str(error))


def _start_from(path: Path, start_from: str) -> Iterator[Fault]:
    if start_from in ("FIRST", "LAST"):
        return
    try:
        datetime.fromisoformat(start_from.upper())
    except ValueError as error:
        yield Fault(
            code="MB104", path=path, expected="LAST, FIRST or a time that exists", got=f"{start_from!r} ({error})"
        )
