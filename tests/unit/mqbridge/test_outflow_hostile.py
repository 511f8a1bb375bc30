"""Message outflow tasks and what a hostile device may publish: bounded work, no neighbour harmed, nothing of a payload told."""

import json
import time
from typing import Any

import pytest

from mqbridge.extract import compile_form
from mqbridge.flows import outflow
from mqbridge.mapping import ORIGIN
from mqbridge.messages import MqttMessage
from mqbridge.outcomes import Drop, Reject, Send
from mqbridge.rules import Rules, load
from tests.unit.mqbridge.support import document, publish, record, streaming

MARK = "between us"


def tasks(*several: dict[str, Any]) -> Rules:
    return load(document(EventStreamings=list(several)))


def outcome_of(rules: Rules, payload: Any = b"{}", **more: Any) -> Any:
    message = publish(payload=payload if isinstance(payload, bytes) else json.dumps(payload).encode(), **more)
    (planned,) = outflow.plan([record(message)], rules)
    return planned.outcome


def at(path: str) -> dict[str, str]:
    return {"Form": "JSONPATH", "Value": path}


# Neighbours.


def two_tasks() -> Rules:
    pattern = {"data": {"props": {"qos": [1]}}}
    return tasks(streaming("one", FilterPattern=pattern), streaming("two", FilterPattern=pattern))


@pytest.mark.parametrize("time_ms", [1 << 53, -(1 << 53)])
def test_a_time_beyond_the_calendar_is_left_out_and_harms_nobody(time_ms: int) -> None:
    strange, plain = publish(payload=b"{}", time_ms=time_ms), publish(payload=b"{}")
    plans = outflow.plan([record(strange), record(plain)], two_tasks())
    assert [type(each.outcome) for each in plans] == [Send] * 4
    only = outcome_of(tasks(streaming(sink={"Body": {"Form": "ORIGINAL"}})), time_ms=time_ms)
    assert "time" not in json.loads(only.messages[0].body)


def test_a_defect_while_an_event_is_made_takes_no_neighbour_down(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = outflow.task_event

    def defective(message: MqttMessage, **more: Any) -> Any:
        if message.message_id == "bad":
            raise ValueError(MARK)
        return whole(message, **more)

    monkeypatch.setattr(outflow, "task_event", defective)
    bad, good = publish(payload=b"{}", message_id="bad"), publish(payload=b"{}")
    plans = outflow.plan([record(bad), record(good)], two_tasks())
    assert [type(each.outcome) for each in plans] == [Reject, Reject, Send, Send]
    assert [each.rule is not None for each in plans] == [True] * 4, "so that each task's own dead-letter queue has it"
    assert isinstance(plans[0].outcome, Reject)
    assert plans[0].outcome.reason == "unexpected_error"
    assert MARK not in plans[0].outcome.detail
    assert "ValueError" in plans[0].outcome.detail
