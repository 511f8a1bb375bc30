"""mqbridge dlq: what letters say, which are chosen, what is remembered of them, and what the command line takes."""

import json
from pathlib import Path
from typing import Any

import pytest

from mqbridge_cli.dlq import command
from mqbridge_cli.dlq.letters import Groups, Selection, StoredLetter, read_envelope
from mqbridge_cli.dlq.state import Redriven, StateInUse, default_path
from mqbridge_cli.main import _parser, main

QUEUE = "acs:mq:local:0:/instances/rmq-local/topic/dead"


def letter(id: str = "a", event: str = "{}", **envelope: Any) -> StoredLetter:
    full = {
        "rule": "out",
        "stage": "sending",
        "reason": "broker_busy",
        "lastFailure": "2026-01-01T00:01:40.000+00:00",
        **envelope,
    }
    return StoredLetter(
        id=id, queue=QUEUE, place="broker-a/0/1", event=event, envelope=full, stored_ms=1_767_225_800_000
    )


# Envelopes.


def test_a_letter_says_what_its_envelope_says() -> None:
    one = letter(redriveOf="x", redriveCount=2, firstFailure="2025-12-31T00:00:00.000+00:00")
    assert (one.rule, one.stage, one.reason, one.failed_s) == ("out", "sending", "broker_busy", 1_767_225_700.0)
    assert (one.redrive_of, one.redrive_count, one.first_failure) == ("x", 2, "2025-12-31T00:00:00.000+00:00")


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "7", "null", "[" * 100_000])
def test_what_is_no_envelope_is_an_empty_one(text: str) -> None:
    assert read_envelope(text) == {}


@pytest.mark.parametrize("odd", [None, 7, [], {}, True, ""])
def test_an_odd_envelope_breaks_nothing(odd: Any) -> None:
    """Whoever can write to the queue can write envelopes."""
    one = letter(rule=odd, stage=odd, reason=odd, lastFailure=odd, redriveOf=odd, redriveCount=odd, firstFailure=odd)
    assert (one.rule, one.stage, one.reason) == (None, "", "(no envelope)")
    assert (one.failed_s, one.redrive_of) == (1_767_225_800.0, "")
    assert one.redrive_count == (7 if odd == 7 else 0)
    json.dumps(one.as_document())


def test_a_document_has_the_event_as_json_or_as_text() -> None:
    assert letter(event='{"a": 1}').as_document()["event"] == {"a": 1}
    assert letter(event='{"a": 1').as_document()["event"] == '{"a": 1'
    assert letter(event="[" * 100_000).as_document()["event"] == "[" * 100_000


# Choosing and counting.


@pytest.mark.parametrize(
    ("selection", "is_wanted"),
    [
        (Selection(), True),
        (Selection(rules=frozenset({"out", "other"}), reasons=frozenset({"broker_busy"})), True),
        (Selection(rules=frozenset({"out"}), reasons=frozenset({"illegal_topic"})), False),
        (Selection(stages=frozenset({"receiving"})), False),
        (Selection(ids=frozenset({"a"})), True),
        (Selection(ids=frozenset({"b"})), False),
        (Selection(since_s=1_767_225_700.0), True),
        (Selection(since_s=1_767_225_700.1), False),
        (Selection(until_s=1_767_225_700.0), False),
        (Selection(until_s=1_767_225_700.1), True),
    ],
)
def test_a_selection_takes_any_word_of_a_kind_and_all_kinds(selection: Selection, is_wanted: bool) -> None:
    assert selection.wants(letter()) is is_wanted


def test_groups_count_and_show_the_newest() -> None:
    groups = Groups()
    for at in (3, 5, 4):
        groups.add(letter(str(at), lastFailure=f"2026-01-01T00:0{at}:00+00:00"))
    groups.add(letter("x", reason="illegal_topic"))
    busy, illegal = groups.all()
    assert (busy.reason, busy.count, busy.example) == ("broker_busy", 3, "5")
    assert busy.newest_s - busy.oldest_s == 120
    assert (illegal.reason, illegal.count, illegal.example) == ("illegal_topic", 1, "x")


# What is remembered.


def test_what_was_redriven_is_known_to_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.jsonl"
    state = Redriven(path)
    assert not state.has(QUEUE, "b/0/1", "a")
    state.open()
    state.add(QUEUE, "b/0/1", "a")
    state.close()
    known = Redriven(path)
    assert known.has(QUEUE, "b/0/1", "a")
    assert not known.has(QUEUE, "b/0/1", "other"), "a topic that was made anew has other letters in the same places"
    assert not known.has(QUEUE, "b/0/2", "a")
    assert not known.has("other", "b/0/1", "a")


def test_a_line_that_a_crash_cut_short_costs_that_letter_only(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    whole = json.dumps({"queue": QUEUE, "place": "b/0/1", "id": "a"})
    path.write_text(f'{whole}\n[]\n7\n{{"queue": "q"')
    state = Redriven(path)
    state.open()
    state.add(QUEUE, "b/0/2", "b")
    state.close()
    known = Redriven(path)
    assert known.has(QUEUE, "b/0/1", "a")
    assert known.has(QUEUE, "b/0/2", "b")


def test_what_the_topic_does_not_hold_any_more_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    state = Redriven(path)
    state.open()
    for queue, place in ((QUEUE, "b/0/4"), (QUEUE, "b/0/5"), (QUEUE, "b/1/4"), ("other", "b/0/4")):
        state.add(queue, place, "a")
    state.forget(QUEUE, {"b/0": 5})
    state.add(QUEUE, "b/0/6", "a")
    state.close()
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted((each["queue"], each["place"]) for each in kept) == [
        (QUEUE, "b/0/5"),
        (QUEUE, "b/0/6"),
        (QUEUE, "b/1/4"),
        ("other", "b/0/4"),
    ]
    assert not (path.with_name("state.jsonl.new")).exists()


def test_a_reader_forgets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    path.write_text(json.dumps({"queue": QUEUE, "place": "b/0/4", "id": "a"}) + "\n")
    before = path.read_text()
    Redriven(path).forget(QUEUE, {"b/0": 9})
    assert path.read_text() == before


def test_one_redrive_at_a_time(tmp_path: Path) -> None:
    first, second = Redriven(tmp_path / "s"), Redriven(tmp_path / "s")
    first.open()
    with pytest.raises(StateInUse):
        second.open()
    first.close()
    first.open()
    first.add(QUEUE, "b/0/1", "a")
    first.close()
    assert not second.has(QUEUE, "b/0/1", "a")
    second.open()
    assert second.has(QUEUE, "b/0/1", "a"), "what another run did meanwhile"
    second.close()


def test_the_state_lies_where_the_system_keeps_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "mqbridge" / "redriven.jsonl"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".local" / "state" / "mqbridge" / "redriven.jsonl"


# The command line.


def parsed(*arguments: str) -> Any:
    return _parser().parse_args(["dlq", "list", "--rules", "r.yaml", *arguments])


def test_times_are_moments_or_how_long_ago() -> None:
    assert parsed("--since", "2026-01-01T00:01:40Z").since == 1_767_225_700.0
    assert parsed("--since", "2026-01-01T00:01:40").since == 1_767_225_700.0, "without a zone it is UTC"
    assert parsed("--until", "2026-01-01T01:01:40+01:00").until == 1_767_225_700.0
    assert 7_199 < parsed("--since", "1h").since - parsed("--since", "3h").since < 7_201


@pytest.mark.parametrize(
    "arguments",
    [
        ["--since", "yesterday"],
        ["--since", "3w"],
        ["--max", "0"],
        ["--max", "-1"],
        ["--rate", "5/s"],  # of redrive only
        ["--format", "xml"],
    ],
)
def test_what_makes_no_sense_is_bad_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parsed(*arguments)
    assert stopped.value.code == 2


@pytest.mark.parametrize(("text", "rate"), [("5", 5.0), ("5/s", 5.0), ("0.5/s", 0.5)])
def test_a_rate_is_letters_a_second(text: str, rate: float) -> None:
    assert _parser().parse_args(["dlq", "redrive", "--rules", "r", "--rate", text]).rate == rate


@pytest.mark.parametrize("text", ["0", "0/s", "-1", "5/m", "fast", ""])
def test_other_rates_are_bad_usage(text: str) -> None:
    with pytest.raises(SystemExit):
        _parser().parse_args(["dlq", "redrive", "--rules", "r", "--rate", text])


def test_rules_that_cannot_be_used_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faulty = tmp_path / "faulty.json"
    faulty.write_text('{"Instance": {}}')
    plain = tmp_path / "plain.json"
    plain.write_text('{"Instances": {"Mqtt": [], "RocketMQ": []}}')
    for path, words in ((tmp_path / "none.json", "cannot be read"), (faulty, "MB101"), (plain, "no dead-letter queue")):
        assert main(["dlq", "list", "--rules", str(path)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert words in captured.err


def test_the_documentation_shows_what_list_prints(capsys: pytest.CaptureFixture[str]) -> None:
    groups = Groups()
    first = {"stage": "sending", "reason": "route_not_found", "rule": "telemetry"}
    for _ in range(40):
        groups.add(letter("older", **first))
    queue, id_stem = "acs:mq:local:0:/instances/rmq-local/topic/mqbridge_dlq", "7F00000100002A9F3C8E1B2D4A5F000"
    groups.add(letter(f"{id_stem}1", **first, lastFailure="2026-01-01T00:09:12+00:00"))
    for at in (0, 1):
        failed = f"2026-01-01T00:03:0{at}+00:00"
        groups.add(letter(f"{id_stem}2", rule="commands", stage="processing", reason="invalid_qos", lastFailure=failed))
    for group in groups.all():
        group.queue = queue
    command._print_groups(groups.all())
    text = (Path(__file__).parents[3] / "docs" / "dead-letters.md").read_text()
    assert f"```\n{capsys.readouterr().out}```" in text
