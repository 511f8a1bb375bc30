"""Which status rules a runner runs, and what it subscribes to for them."""

from typing import Any

from mqbridge.rules import load
from mqbridge_cli.runner.changes import changes, parts
from mqbridge_cli.runner.status_source import filters_of
from tests.unit.mqbridge.support import document

KEY = ("status", "presence")


def rules(presence_from: dict[str, Any] | None, status: str = "Enabled") -> Any:
    rule = {
        "RuleId": "presence",
        "Status": status,
        "Source": {"GroupId": "GID_sensor"},
        "Destination": {"Topic": "client_status"},
    }
    whole = document(StatusRules=[rule])
    if presence_from is not None:
        whole["Instances"]["Mqtt"][0]["PresenceFrom"] = presence_from
    return load(whole)


def test_a_status_rule_runs_where_it_is_known_where_presence_comes_from() -> None:
    assert list(parts(rules({"Broker": "Mosquitto"}))) == [KEY]
    assert list(parts(rules(None))) == []
    assert list(parts(rules({"Broker": "Mosquitto"}, "Disabled"))) == []


def test_another_source_of_presence_starts_it_anew() -> None:
    found = changes(parts(rules({"Broker": "Mosquitto"})), parts(rules({"Broker": "Emqx"})))
    assert found.changed == (KEY,)


def test_what_is_subscribed_to() -> None:
    def filters(presence_from: dict[str, Any]) -> tuple[str, ...]:
        return filters_of(rules(presence_from).mqtt["mqtt-local"].presence_from)

    assert filters({"Broker": "Mosquitto"}) == ("$SYS/broker/log/N", "$SYS/broker/log/E")
    assert filters({"Broker": "Emqx"}) == (
        "$SYS/brokers/+/clients/+/connected",
        "$SYS/brokers/+/clients/+/disconnected",
    )
    assert filters({"Topics": ["$aws/events/presence/#"]}) == ("$aws/events/presence/#",)
