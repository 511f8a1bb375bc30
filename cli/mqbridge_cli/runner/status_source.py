"""A status rule's source: the topics on which an MQTT broker publishes who comes and goes, in a session of the rule's own.

Events that are JSON go on as they are. mosquitto has none, but publishes its log (`log_dest topic`), whose lines are read here, since an
end is told from others of the same client only by who remembers its beginning. mosquitto keeps a log message for 20 s: what happens
while the runner is away for longer is not told.
"""

import json
import time
from collections import OrderedDict
from dataclasses import replace

from paho.mqtt.client import topic_matches_sub
from paho.mqtt.subscribeoptions import SubscribeOptions

from mqbridge.messages import StatusNotice
from mqbridge.mqtt import Publish
from mqbridge.presence import LOG_TOPICS, SYS_TOPICS, ConnectionLog, read_payload, write_notice
from mqbridge.rules import MqttInstance, PresenceFrom, StatusRule
from mqbridge.telemetry import Counters
from mqbridge_cli.runner.connection_journal import ConnectionJournal
from mqbridge_cli.runner.inbox import Inbox
from mqbridge_cli.runner.lanes import Item
from mqbridge_cli.runner.mqtt_source import RETAIN_NOT_SENT, MqttSource
from mqbridge_cli.runner.state import RuleState

__all__ = ["StatusSource", "filters_of"]

# Lines whose meaning is remembered, in case the broker sends them again: as many as can be under way, and more.
REMEMBERED_LINES = 4_096


def filters_of(presence_from: PresenceFrom) -> tuple[str, ...]:
    """Return the topic filters of a broker's presence."""
    if presence_from.topics is not None:
        return presence_from.topics
    return LOG_TOPICS if presence_from.broker == "Mosquitto" else SYS_TOPICS


class StatusSource(MqttSource):
    """Subscribe to the topics of `PresenceFrom`. Runners that share the load share JSON events; log lines each of them reads whole."""

    def __init__(
        self,
        *,
        instance: MqttInstance,
        presence_from: PresenceFrom,
        rule: StatusRule,
        inbox: Inbox,
        credit: int,
        state: RuleState,
        counters: Counters,
        share: str = "",
        journal: ConnectionJournal | None = None,
    ) -> None:
        super().__init__(
            instance=instance,
            topic="",
            rule=rule.rule_id,
            flow="status",
            inbox=inbox,
            credit=credit,
            state=state,
            counters=counters,
            share=share,
        )
        self._filters = filters_of(presence_from)
        self._reads_log = presence_from.broker == "Mosquitto"
        self._log: ConnectionLog | None = None
        self._journal = journal
        self._lines: OrderedDict[bytes, bytes] = OrderedDict()  # line, and the event that was made of it
        if self._reads_log:
            self._shared = ""

    def close(self) -> None:
        """Disconnect; the session stays, and what is known of connections."""
        super().close()
        if self._journal is not None:
            self._journal.close()

    def _subscribe(self) -> None:
        filters = [self._shared + each for each in self._filters]
        if self._is_five:
            options = SubscribeOptions(qos=self._instance.subscribe_qos, retainHandling=RETAIN_NOT_SENT)
            self._client.subscribe([(each, options) for each in filters])
        else:
            self._client.subscribe([(each, self._instance.subscribe_qos) for each in filters])

    def _leave_to_others(self, topic: str) -> None:
        """Do nothing: presence has topics of many parents."""

    def _has_room_for(self, publish: Publish) -> bool:
        return super()._has_room_for(replace(publish, payload=self._lines.get(publish.payload, publish.payload)))

    def _on_received(self, publish: Publish) -> None:
        is_wanted = any(topic_matches_sub(each, publish.topic) for each in self._filters)
        payload = self._event_of(publish) if is_wanted and self._is_reading else b""
        if payload:
            super()._on_received(replace(publish, payload=payload))
        elif self._is_reading and publish.qos > 0:
            # A line about something else, or a topic that the session has from when the broker was another.
            self._client.acknowledge(publish.packet_id, publish.qos)

    def _event_of(self, publish: Publish) -> bytes:
        if not self._reads_log:
            return publish.payload
        line = publish.payload
        if publish.dup and line in self._lines:
            return self._lines[line]
        notices = self._read(line.decode("utf-8", "replace"))
        if not notices:
            return b""
        written = [json.loads(write_notice(each)) for each in notices]
        event = json.dumps({"clientId": notices[0].client_id, "notices": written}, separators=(",", ":")).encode()
        self._lines[line] = event
        if len(self._lines) > REMEMBERED_LINES:
            self._lines.popitem(last=False)
        return event

    def _read(self, line: str) -> tuple[StatusNotice, ...]:
        if self._log is None:  # not before: the life of the rule before this one may still have written
            self._log = ConnectionLog(self._journal.load() if self._journal is not None else None)
        notices = self._log.read(line, int(time.time() * 1000))
        connection = self._log.connection_of(notices[0].client_id) if notices else None
        if connection is not None and self._journal is not None:
            self._journal.note(notices[0].client_id, connection)
            if self._journal.is_mostly_history(len(self._log)):
                self._journal.replace(self._log.known)
        return notices

    def _item(self, publish: Publish) -> Item:
        # A client's events keep their order, also over failures; which client's they are stands in the payload.
        item = super()._item(publish)
        client_id = read_payload(publish.payload, topic=publish.topic, time_ms=1).client_id
        return replace(item, lane=client_id or item.lane)
