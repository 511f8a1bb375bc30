"""What an MQTT broker says of messages that it dropped: no bridge can bring those back, so somebody should hear of it.

mosquitto counts, for all its clients together, what did not fit into a queue (max_queued_messages, 1,000 by default) after it had been
acknowledged to the publisher. It tells nobody what its limits are. Of other brokers' counts none is known that any client may read.
"""

import os
import threading
import time
from typing import Any

from paho.mqtt.client import Client, ConnectFlags
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from mqbridge.mqtt import KEEP_ALIVE_S, Publish, address_of, new_client
from mqbridge.rules import MqttInstance
from mqbridge.telemetry import logger

__all__ = ["DropWatch", "newly_dropped"]

TOPIC = "$SYS/broker/publish/messages/dropped"
# The count is a retained message: a broker that has none by then, or refuses it, will not have one later.
ANSWER_S = 5.0
CONNECT_AGAIN_S = 60.0
DRIVE_S = 5.0
MAX_CLIENT_ID_LENGTH = 64


def newly_dropped(known: int, count: int) -> int:
    """Return how many more were dropped; a smaller count than before comes from a broker that was restarted."""
    return count - known if count >= known else count


class DropWatch:
    """Logs a warning whenever one MQTT broker says that it has dropped messages, and at the start if it has since its own."""

    def __init__(self, instance: MqttInstance) -> None:
        self._instance = instance
        self._known = 0
        self._has_heard = False
        self._thread = threading.Thread(target=self._run, name=f"drops-{instance.instance_id}", daemon=True)

    def start(self) -> None:
        """Watch in a thread of its own, on a connection of its own, as long as the process lives."""
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                self._listen()
            except (OSError, ValueError) as error:
                logger().debug(
                    "cannot watch for dropped messages",
                    extra={"instance": self._instance.instance_id, "detail": str(error)},
                )
            else:
                if not self._has_heard:
                    return
            time.sleep(CONNECT_AGAIN_S)

    def _listen(self) -> None:
        """Hear what the broker says until the connection ends, or until it is plain that it says nothing."""
        client_id = (self._instance.client_id_prefix + os.urandom(16).hex())[:MAX_CLIENT_ID_LENGTH]
        client = new_client(self._instance, client_id, is_clean=True)
        client.on_connect = _subscribe
        client.on_received = self._on_received
        client.connect(*address_of(self._instance), keepalive=KEEP_ALIVE_S)
        give_up = time.monotonic() + ANSWER_S
        while client.drive(DRIVE_S if self._has_heard else ANSWER_S / 10):
            if not self._has_heard and time.monotonic() >= give_up:
                client.disconnect()
                client.write_out()

    def _on_received(self, publish: Publish) -> None:
        self._has_heard = True
        if not publish.payload.isdigit():
            return
        count = int(publish.payload)
        dropped, self._known = newly_dropped(self._known, count), count
        if dropped:
            logger().warning(
                "the MQTT broker has dropped messages, of this or other clients, after it had acknowledged them: "
                "a queue was full (mosquitto: max_queued_messages, see docs/runner.md)",
                extra={"instance": self._instance.instance_id, "dropped": dropped, "since_its_start": count},
            )


def _subscribe(
    client: Client, userdata: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
) -> None:
    del userdata, flags, reason, properties
    client.subscribe(TOPIC)
