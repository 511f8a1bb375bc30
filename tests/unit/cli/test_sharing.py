"""mqbridge run --share: several runners of the same rules."""

import pytest

from mqbridge.rules import MqttInstance
from mqbridge_cli.main import main
from mqbridge_cli.runner.mqtt_source import MAX_CLIENT_ID_LENGTH, client_id_of, share_name_of

INSTANCE = MqttInstance(instance_id="mqtt-test", endpoint="mqtt://127.0.0.1:1883")


def test_every_sharing_runner_has_a_client_id_of_its_own() -> None:
    ids = [client_id_of(INSTANCE, "outbound", "telemetry", share) for share in ("", "a", "b")]
    assert ids == [
        "mqbridge-outbound-telemetry",
        "mqbridge-outbound-telemetry-a",
        "mqbridge-outbound-telemetry-b",
    ]


def test_long_client_ids_differ_by_the_runners_name() -> None:
    one, other = (client_id_of(INSTANCE, "outbound", "t" * 64, share) for share in ("a", "b"))
    assert one != other
    assert len(one) == len(other) == MAX_CLIENT_ID_LENGTH


def test_a_task_shares_with_no_data_rule_of_its_name() -> None:
    assert share_name_of("outbound", "telemetry") == "mqbridge-telemetry"
    names = [share_name_of(*each) for each in (("outbound", "x"), ("outflow", "x"), ("outbound", "outflow-x"))]
    assert len(set(names)) == 3


@pytest.mark.parametrize("name", ["", "a/b", "a b", "#", "x" * 33])
def test_a_name_that_cannot_be_part_of_a_client_id_is_bad_usage(name: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["run", "--rules", "rules.yaml", "--share", name])
    assert stopped.value.code == 2
