"""A function in the place of a handler: requests that are small enough, and what becomes of records when it does not answer."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from mqbridge.messages import ATTEMPT
from mqbridge.telemetry import Counters
from mqbridge_cli.runner.function_handler import (
    LONGEST_DELAY_S,
    MAX_REQUEST_BYTES,
    MAX_WORDS,
    OTHER,
    FunctionHandler,
    NoAnswer,
    TooLarge,
    Unanswered,
    Unavailable,
)
from tests.identity import faults_of
from tests.unit.mqbridge.support import captured_lines

ALL_WELL = b'{"batchItemFailures": []}'


class _Function:
    """Remembers its requests, and answers each as told, or well."""

    def __init__(self, *answers: bytes | Exception, refuses: Callable[[list[str]], bool] = lambda _ids: False) -> None:
        self.requests: list[bytes] = []
        self._answers = list(answers)
        self._refuses = refuses

    def __call__(self, request: bytes) -> bytes:
        self.requests.append(request)
        answer = self._answers.pop(0) if self._answers else ALL_WELL
        if self._refuses(self.ids[-1]):
            answer = Unanswered("function_error", "Outbound: ValueError: as told")
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def ids(self) -> list[list[str]]:
        return [[event["id"] for event in json.loads(request)] for request in self.requests]


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class _Made:
    def __init__(self, *answers: bytes | Exception, **more: Any) -> None:
        self.function = _Function(*answers, **more)
        self.clock = _Clock()
        self.counters = Counters()
        self.handler = FunctionHandler(
            "outbound", "r", self.function, self.counters, clock=self.clock, chance=lambda: 0.5
        )

    def call(self, batch: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """Return the failures by id."""
        failures = self.handler(batch, None)["batchItemFailures"]
        assert len({each["itemIdentifier"] for each in failures}) == len(failures)
        return {each["itemIdentifier"]: each for each in failures}

    def counted(self, name: str) -> dict[str, float]:
        """Return a counter's values by its last label."""
        values = self.counters.snapshot()
        return {labels[-1][1]: value for (of, labels), value in values.items() if of == name}


def events(count: int, *, size: int = 10, attempt: int = 1, start: int = 0) -> list[dict[str, Any]]:
    return [
        {"specversion": "1.0", "id": str(at), "mqbridgerule": "r", ATTEMPT: attempt, "data": {"body": "x" * size}}
        for at in range(start, start + count)
    ]


def reported(*failures: Mapping[str, Any]) -> bytes:
    return json.dumps({"batchItemFailures": failures}).encode()


# What the function answers.


def test_the_function_gets_the_events_as_they_are_in_one_request() -> None:
    made = _Made()
    batch = events(3)
    assert made.call(batch) == {}
    assert json.loads(made.function.requests[0]) == batch
    assert len(made.function.requests) == 1


def test_what_it_reports_comes_back_with_or_without_a_time_to_try_again() -> None:
    later = {"itemIdentifier": "1", "reason": "broker_busy", "detail": "d", "retryAfter": 2.5}
    never = {"itemIdentifier": "2", "reason": "illegal_message", "detail": "e"}
    made = _Made(reported(later, never))
    assert made.call(events(3)) == {"1": later, "2": never}


def test_the_runner_counts_what_it_knows() -> None:
    later = {"itemIdentifier": "1", "reason": "broker_busy", "detail": "d", "retryAfter": 2.5}
    made = _Made(reported(later))
    made.call(events(3))
    assert made.counted("mqbridge_records_total") == {"settled": 2, "failed": 1}
    assert made.counted("mqbridge_events_received_total") == {"cloudevents_batch": 3}
    assert made.counted("mqbridge_errors_total") == {"broker_busy": 1}
    error = made.counters.last_error("outbound", "r")
    assert error is not None
    assert (error.record, error.stage, error.reason, error.detail) == ("1", "function", "broker_busy", "d")


def test_the_accounts_add_up_whatever_happens() -> None:
    later = {"itemIdentifier": "1", "reason": "broker_busy", "detail": "d", "retryAfter": 0.0}
    twice = reported(later, later)
    made = _Made(twice, Unavailable("throttled", "d"), NoAnswer("no_answer", "d"), b"null", TooLarge("too_large", "d"))
    for _ in range(8):
        made.call(events(3))
        made.clock.now += 60
    assert faults_of(made.counters.snapshot()) == []
    assert made.counted("mqbridge_records_total")["settled"] > 0


@pytest.mark.parametrize("reason", ["client d1 of 10.0.0.1", "Busy", "", "x" * 42, "broker_busy\n", "é"])
def test_a_reason_that_is_no_word_is_no_label(reason: str) -> None:
    made = _Made(reported({"itemIdentifier": "1", "reason": reason, "retryAfter": 1}))
    made.call(events(2))
    assert made.counted("mqbridge_errors_total") == {OTHER: 1}


def test_of_words_without_end_the_first_are_labels() -> None:
    """Another's function may put an order's number there."""
    words = [f"order_{at}" for at in range(MAX_WORDS + 5)]
    made = _Made(*(reported({"itemIdentifier": "0", "reason": word, "retryAfter": 0}) for word in [*words, words[0]]))
    for _ in [*words, words[0]]:
        made.call(events(1))
    counted = made.counted("mqbridge_errors_total")
    assert counted == {**dict.fromkeys(words[:MAX_WORDS], 1), OTHER: 5, words[0]: 2}


def test_the_log_names_the_label_and_still_tells_the_reason() -> None:
    made = _Made(reported({"itemIdentifier": "0", "reason": "Order 7 is late " + "x" * 10_000, "detail": "why"}))
    with captured_lines() as lines:
        made.call(events(1))
    (line,) = map(vars, lines.records)
    assert line["error_type"] == OTHER
    assert line["detail"].startswith("Order 7 is late xxx")
    assert line["detail"].endswith("x: why")
    assert len(line["detail"]) < 100


def test_a_failed_record_is_logged_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    made = _Made(reported({"itemIdentifier": "1", "reason": "illegal_message", "detail": "e"}))
    made.call(events(2, attempt=3))
    (line,) = map(vars, caplog.records)
    told = {key: line[key] for key in ("levelname", "msg", "rule", "event_id", "attempt", "error_type", "retriable")}
    assert told == {
        "levelname": "ERROR",
        "msg": "record failed",
        "rule": "r",
        "event_id": "1",
        "attempt": 3,
        "error_type": "illegal_message",
        "retriable": False,
    }


@pytest.mark.parametrize(
    "answer",
    [
        b"null",
        b"{}",
        b'"ok"',
        b"not JSON",
        b'{"batchItemFailures": null}',
        b'{"batchItemFailures": ["0"]}',
        b'{"batchItemFailures": {}}',
        b'{"batchItemFailures": ""}',
        reported({"itemIdentifier": "0", "retryAfter": 10**400}),
        reported({"itemIdentifier": "not of the batch", "retryAfter": 1}),
        reported({"itemIdentifier": "0", "retryAfter": "soon"}),
        reported({"itemIdentifier": "0", "retryAfter": -1}),
        reported({"itemIdentifier": "0", "reason": 7}),
    ],
)
def test_another_answer_settles_nothing(answer: bytes) -> None:
    made = _Made(answer)
    failures = made.call(events(1))
    assert failures["0"]["reason"] == "malformed_answer"
    assert failures["0"]["retryAfter"] > 0
    assert made.counted("mqbridge_records_total") == {"settled": 0, "failed": 1}


# The size of requests.


def test_a_batch_is_split_into_requests_below_the_limit() -> None:
    made = _Made()
    batch = events(7, size=2_500_000)
    assert made.call(batch) == {}
    assert [len(ids) for ids in made.function.ids] == [2, 2, 2, 1]
    assert [each for ids in made.function.ids for each in ids] == list("0123456")
    assert max(map(len, made.function.requests)) < MAX_REQUEST_BYTES


def test_a_request_may_be_as_large_as_the_limit_less_one_byte() -> None:
    frame = len(json.dumps(events(1, size=0), separators=(",", ":")))
    made = _Made()
    assert made.call(events(1, size=MAX_REQUEST_BYTES - 1 - frame)) == {}
    assert made.call(events(1, size=MAX_REQUEST_BYTES - frame))["0"]["reason"] == "too_large"
    assert len(made.function.requests) == 1


def test_what_is_too_large_by_itself_is_refused_and_its_neighbours_go_on_at_once() -> None:
    made = _Made()
    batch = [*events(1), *events(1, size=MAX_REQUEST_BYTES, start=1), *events(1, start=2)]
    failures = made.call(batch)
    assert "0" not in failures
    assert "retryAfter" not in failures["1"]
    assert (failures["2"]["reason"], failures["2"]["retryAfter"]) == ("held_back", 0.0)
    assert made.call(batch[2:]) == {}


def test_behind_a_part_that_failed_nothing_is_sent_that_might_overtake() -> None:
    later = {"itemIdentifier": "0", "reason": "broker_busy", "detail": "", "retryAfter": 2.5}
    made = _Made(reported(later))
    failures = made.call(events(5, size=2_500_000))
    assert made.function.ids == [["0", "1"]]
    assert set(failures) == {"0", "2", "3", "4"}
    assert {each["reason"] for key, each in failures.items() if key != "0"} == {"held_back"}


def test_what_the_service_finds_too_large_is_halved() -> None:
    made = _Made(TooLarge("too_large", "Outbound: 413"))
    failures = made.call(events(4))
    assert made.function.ids == [["0", "1", "2", "3"], ["0", "1"]]
    assert {key: each["retryAfter"] for key, each in failures.items()} == {"2": 0.0, "3": 0.0}


# When the function cannot be invoked, or raises.


def test_throttled_records_wait_and_it_was_no_attempt_of_theirs() -> None:
    made = _Made(Unavailable("throttled", "Outbound: 429 TooManyRequestsException"))
    failures = made.call(events(2))
    assert {(each["reason"], each["retryAfter"]) for each in failures.values()} == {("held_back", 0.5)}
    assert made.counted("mqbridge_records_total") == {"settled": 0, "failed": 2}
    assert made.counted("mqbridge_errors_total") == {"throttled": 2}


def test_while_it_is_waited_nothing_is_invoked() -> None:
    made = _Made(Unavailable("unreachable", "Outbound: EndpointConnectionError"))
    made.call(events(2))
    made.clock.now += 0.2
    failures = made.call(events(2, start=2))
    assert len(made.function.requests) == 1
    assert {round(each["retryAfter"], 3) for each in failures.values()} == {0.3}
    made.clock.now += 0.31
    assert made.call(events(4)) == {}


def test_it_is_tried_more_and_more_rarely_and_at_once_after_an_answer() -> None:
    error = Unavailable("unreachable", "Outbound: EndpointConnectionError")
    made = _Made(*[error] * 9, ALL_WELL, error)
    delays = []
    for _ in range(9):
        delays.append(made.call(events(1))["0"]["retryAfter"])
        made.clock.now += delays[-1]
    assert delays == [0.5, 1, 2, 4, 8, 16, LONGEST_DELAY_S, LONGEST_DELAY_S, LONGEST_DELAY_S]
    assert made.call(events(1)) == {}
    assert made.call(events(1))["0"]["retryAfter"] == 0.5


def test_a_failed_invocation_is_logged_with_the_records_that_it_held(caplog: pytest.LogCaptureFixture) -> None:
    made = _Made(Unavailable("throttled", "Outbound: 429 TooManyRequestsException"))
    made.call(events(25))
    (line,) = map(vars, caplog.records)
    assert (line["msg"], line["levelname"], line["rule"]) == ("invocation failed", "ERROR", "r")
    assert (line["error_type"], line["detail"]) == ("throttled", "Outbound: 429 TooManyRequestsException")
    assert (line["records"], line["event_ids"], line["next_try_s"]) == (25, [str(at) for at in range(20)], 0.5)


def test_an_answer_that_never_comes_is_an_attempt_and_an_unknown_outcome() -> None:
    made = _Made(NoAnswer("no_answer", "Outbound: ReadTimeoutError"))
    failures = made.call(events(2))
    assert {(each["reason"], each["retryAfter"]) for each in failures.values()} == {("no_answer", 0.5)}
    assert made.counted("mqbridge_unknown_outcome_total") == {"lambda:outbound": 2}
    assert len(made.function.requests) == 1, "it may have been done, so it is not halved"


@pytest.mark.parametrize("poison", [{"13"}, {"0"}, {"39"}, {"0", "1", "2", "20"}])
def test_records_at_which_the_function_raises_take_no_neighbour_down(poison: set[str]) -> None:
    """The worker's part is played here: what may go on does, in order, when its time has come."""
    made = _Made(refuses=lambda ids: not poison.isdisjoint(ids))
    waiting = {str(event["id"]): (0.0, event) for event in events(40)}
    while waiting.keys() > poison:
        made.clock.now = max(made.clock.now, min(due for due, _ in waiting.values())) + 0.001
        assert made.clock.now < 160
        batch = [event for due, event in waiting.values() if due <= made.clock.now]
        failures = made.call(batch)
        for event in batch:
            del waiting[event["id"]]
            failure = failures.get(event["id"])
            if failure is not None:
                event[ATTEMPT] += failure["reason"] != "held_back"
                waiting[event["id"]] = (made.clock.now + failure["retryAfter"], event)
        waiting = dict(sorted(waiting.items(), key=lambda each: int(each[0])))
    assert set(waiting) == poison
    assert made.clock.now < 130
    assert len(made.function.requests) < 60


def test_a_function_that_always_raises_is_asked_for_few_records() -> None:
    made = _Made(refuses=lambda _ids: True)
    failures = made.call(events(1000))
    assert len(made.function.requests) == 10
    assert failures["0"]["reason"] == "function_error"
    assert failures["0"]["retryAfter"] == 2.0
    before = len(made.function.requests)
    assert made.call(events(10))["0"]["reason"] == "held_back"
    assert len(made.function.requests) == before


def test_a_record_that_failed_often_comes_again_rarely() -> None:
    made = _Made(refuses=lambda _ids: True)
    assert made.call(events(1, attempt=6))["0"]["retryAfter"] == 16.0
