"""How fast paho receives when nothing is done with the messages: `python -m benchmarks.paho_counter PORT COUNT...`.

Prints "ready" when it is subscribed, and time.monotonic when it has received each of the counts.
"""

import sys
import time
from itertools import count

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion


def main(port: int, counts: list[int]) -> None:
    """Count until the process is ended."""
    received = count(1)
    wanted = frozenset(counts)

    def on_message(client: Client, userdata: object, message: MQTTMessage) -> None:
        del client, userdata, message
        number = next(received)
        if number in wanted:
            print(number, time.monotonic(), flush=True)

    client = Client(CallbackAPIVersion.VERSION2, client_id="paho-counter", protocol=MQTTProtocolVersion.MQTTv5)
    client.on_message = on_message
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.connect("127.0.0.1", port)
    client.subscribe("devices/#", qos=1)  # goes out behind CONNECT
    client.loop_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(each) for each in sys.argv[2:]])
