"""What holds while rules are in force and their place changes or fails, by itself and in handlers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from functions.outbound.app import handler as outbound_handler
from mqbridge import handler as handler_module
from mqbridge.handler import Bridge
from mqbridge.rules import InvalidRules, Rules, UnreadableRules, load
from mqbridge.sources.reading import CannotRead
from tests.unit.mqbridge.watched_rules import FAULTY, Watched, replace_file, text_of, topic_of

# --- While rules are in force: a scripted place ---


class ScriptedReader:
    """Gives what it is told to, in turn."""

    def __init__(self, answers: Sequence[Any]) -> None:
        self.answers = list(answers)

    def read(self) -> Rules | None:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]  # what the test put there


def scripted(*answers: Any, ttl: str | None = None) -> Watched:
    reader = ScriptedReader([load(each) if isinstance(each, str) else each for each in answers])
    return Watched("ssm:/rules", ttl, opened=lambda: reader)


def refused() -> InvalidRules:
    with pytest.raises(InvalidRules) as raised:
        load(FAULTY)
    return raised.value


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records]


def test_rules_are_looked_at_again_when_their_time_is_over_and_not_before() -> None:
    watched = scripted(text_of("one"), None, text_of("two"))
    assert watched.topic() == "one"
    first = watched.rules.current()
    assert watched.topic(59.9) == "one"
    assert watched.topic(0.2) == "one"  # looked: nothing new
    assert watched.rules.current() is first
    assert watched.topic(60.0) == "two"
    assert watched.counted == {"ok": 1}


def test_a_time_to_live_of_0_looks_every_time() -> None:
    watched = scripted(text_of("one"), text_of("two"), text_of("three"), ttl="0")
    assert [watched.topic() for _ in range(3)] == ["one", "two", "three"]


def test_a_clock_that_is_set_back_puts_no_look_off() -> None:
    watched = scripted(text_of("one"), text_of("two"))
    watched.topic()
    assert watched.topic(-86_400) == "two"


def test_changed_rules_with_faults_are_refused_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """The reader gives a document once; it stays refused until it changes, whether or not the place answers."""
    watched = scripted(text_of("one"), refused(), None, CannotRead("x"), None, text_of("one"), text_of("two"))
    watched.topic()
    caplog.clear()
    assert [watched.topic(60) for _ in range(6)] == ["one", "one", "one", "one", "one", "two"]
    assert watched.counted == {"refused": 1, "failed": 1, "ok": 1}
    lines = logged(caplog)
    assert [line["levelname"] for line in lines] == ["ERROR", "ERROR", "INFO", "INFO", "INFO"]
    assert lines[0]["message"] == "changed rules are refused; those from before stay in force"
    assert lines[0]["source"] == "ssm:/rules"
    (fault,) = lines[0]["faults"]
    assert "OutboundRules[0].Source.Topic: expected" in fault


def test_a_place_that_fails_is_said_once_counted_each_time_and_left_alone_for_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    slow = CannotRead("AWS cannot be asked: ReadTimeoutError")
    watched = scripted(text_of("one"), slow, slow, CannotRead("AWS answered AccessDenied"), None, ttl="0")
    watched.topic()
    caplog.clear()
    assert watched.topic(1) == "one"
    assert watched.topic(9) == "one"  # not asked
    assert watched.counted == {"failed": 1}
    assert [watched.topic(10) for _ in range(3)] == ["one"] * 3
    assert watched.counted == {"failed": 3}
    assert [(line["levelname"], line.get("faults")) for line in logged(caplog)] == [
        ("ERROR", ["AWS cannot be asked: ReadTimeoutError"]),
        ("ERROR", ["AWS answered AccessDenied"]),
        ("INFO", None),
    ]


def test_a_defect_that_a_document_brings_to_light_leaves_the_rules_in_force(caplog: pytest.LogCaptureFixture) -> None:
    watched = scripted(text_of("one"), ZeroDivisionError("x"), text_of("two"))
    watched.topic()
    assert [watched.topic(60) for _ in range(2)] == ["one", "two"]
    assert watched.counted == {"refused": 1, "ok": 1}
    (said, _) = logged(caplog)
    assert said["exc_info"][0] is ZeroDivisionError


def test_the_same_rules_in_another_layout_are_no_change() -> None:
    watched = scripted(text_of("one"), json.dumps(json.loads(text_of("one")), indent=4))
    first = watched.rules.current()
    watched.topic(60)
    assert watched.rules.current() is first
    assert watched.counted == {}


def test_a_place_that_gives_nothing_at_first_is_said() -> None:
    assert scripted(None).refusal() == "ssm:/rules: it gave no document"


def test_without_rules_yet_every_call_tries_anew() -> None:
    watched = scripted(CannotRead("no such place"), refused(), text_of("one"))
    assert watched.refusal() == "ssm:/rules: no such place"
    assert "OutboundRules[0].Source.Topic: expected" in watched.refusal()
    assert watched.topic() == "one"
    assert watched.counted == {"failed": 1, "refused": 1}


# --- The handler ---


@pytest.fixture
def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler_module, "_own", {})


def lent() -> Bridge:
    """Return the bridge that one invocation at a time goes over."""
    with handler_module._own_bridges("outbound").lease() as bridge:
        return bridge


@pytest.mark.usefixtures("_fresh_process")
def test_invocations_at_once_have_a_bridge_each_and_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQBRIDGE_RULES", text_of("one"))
    with (
        handler_module._own_bridges("outbound").lease() as first,
        handler_module._own_bridges("outbound").lease() as second,
    ):
        assert first.sinks is not second.sinks
        assert first.counters is second.counters
        assert first.rules is second.rules
    assert lent() is first  # given back last, used next


@pytest.mark.usefixtures("_fresh_process")
def test_a_handler_goes_by_changed_rules_and_keeps_what_they_leave_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections to instances that stay, and what was counted."""
    path = tmp_path / "rules.json"
    path.write_text(text_of("one"))
    monkeypatch.setenv("MQBRIDGE_RULES", str(path))
    monkeypatch.setenv("MQBRIDGE_RULES_TTL", "0")
    first = lent()
    assert lent() is first
    replace_file(path, text_of("two"))
    second = lent()
    assert topic_of(second.rules) == "two"
    assert second.sinks is first.sinks
    assert second.counters is first.counters


@pytest.mark.usefixtures("_fresh_process")
def test_another_source_is_another_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQBRIDGE_RULES", text_of("one"))
    first = lent()
    monkeypatch.setenv("MQBRIDGE_RULES", text_of("two"))
    second = lent()
    assert (topic_of(first.rules), topic_of(second.rules)) == ("one", "two")
    assert second.sinks is not first.sinks


@pytest.mark.usefixtures("_fresh_process")
def test_a_handler_without_rules_fails_with_the_source_and_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """And so every time, until it finds some: nothing is acknowledged meanwhile."""
    monkeypatch.setenv("MQBRIDGE_RULES", "appconfig:app")
    for _ in range(2):
        with pytest.raises(UnreadableRules, match=r"^appconfig:app: expected appconfig:APPLICATION"):
            outbound_handler([], None)
    monkeypatch.setenv("MQBRIDGE_RULES", "")
    with pytest.raises(UnreadableRules, match=r"^/opt/rules\.json: "):
        outbound_handler([], None)
