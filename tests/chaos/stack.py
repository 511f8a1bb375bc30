"""What a cell runs on: mosquitto, RocketMQ, one or two runners, and proxies in between where the cell wants them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from devstack.mosquitto import Mosquitto
from devstack.rocketmq import RocketMQ
from tests.chaos.proxy import Mode, Proxy
from tests.integration.running_bridge import RunningBridge, data_rules

__all__ = ["COMMANDS", "TELEMETRY", "Stack", "stack"]

TELEMETRY, COMMANDS = "telemetry", "commands"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Everything that a fault can be done to. Load and judges know the brokers, the runners perhaps only proxies."""

    mosquitto: Mosquitto
    rocketmq: RocketMQ
    runners: tuple[RunningBridge, ...]
    proxies: tuple[Proxy, ...] = ()

    def set_proxies(self, mode: Mode) -> None:
        """Treat the runners' connections to both brokers so."""
        for proxy in self.proxies:
            proxy.set(mode)


@contextmanager
def stack(directory: Path, *, runners: int = 1, is_proxied: bool = False) -> Iterator[Stack]:
    """Start everything, yield it with all rules running, and end it."""
    with ExitStack() as opened:
        mosquitto = opened.enter_context(Mosquitto(directory / "mosquitto"))
        rocketmq = opened.enter_context(RocketMQ(directory / "rocketmq"))
        rocketmq.create_topic(TELEMETRY, COMMANDS)
        rules = data_rules(
            mosquitto,
            rocketmq,
            OutboundRules=[{"RuleId": "out", "Source": {"Topic": "devices"}, "Destination": {"Topic": TELEMETRY}}],
            InboundRules=[{"RuleId": "into", "Source": {"Topic": COMMANDS}, "Destination": {"Topic": "devices"}}],
        )
        proxies: tuple[Proxy, ...] = ()
        if is_proxied:
            mqtt = opened.enter_context(Proxy(mosquitto.port))
            broker_port = rocketmq.broker.address.rpartition(":")[2]
            broker = opened.enter_context(Proxy(int(broker_port)))
            rewrite = f":{broker_port}".encode(), f":{broker.port}".encode()
            # Not one of those that faults are done to: a route is asked for so rarely that it would hardly be hit.
            names = opened.enter_context(Proxy(int(rocketmq.name_server.rpartition(":")[2]), rewrite))
            rules["Instances"]["Mqtt"][0]["Endpoint"] = f"mqtt://127.0.0.1:{mqtt.port}"
            rules["Instances"]["RocketMQ"][0]["NameServers"] = [f"127.0.0.1:{names.port}"]
            proxies = (mqtt, broker)
        bridges = tuple(
            RunningBridge(directory / name, rules, *(("--share", name) if runners > 1 else ()))
            for name in "abcdef"[:runners]
        )
        for bridge in bridges:
            opened.enter_context(bridge)
        yield Stack(mosquitto=mosquitto, rocketmq=rocketmq, runners=bridges, proxies=proxies)
