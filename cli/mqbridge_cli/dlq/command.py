"""mqbridge dlq: read dead letters, show them, and send them on their way again."""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mqbridge.delivery import OpenSinks
from mqbridge.outcomes import Planned, Send
from mqbridge.rendering import render_plan
from mqbridge.rules import DeadLetterQueue, Fault, InvalidRules, Rules, RulesError, load
from mqbridge.rules.declarations import INVALID, settings_of
from mqbridge_cli.dlq.letters import Group, Groups, Selection, StoredLetter, rfc3339
from mqbridge_cli.dlq.redriving import NotRedrivable, Result, plan, send, why_not_again
from mqbridge_cli.dlq.state import Redriven, StateInUse, default_path
from mqbridge_cli.dlq.stores import Store, StoreError, open_store, queues_of, say
from mqbridge_cli.validate import print_faults

__all__ = ["run"]

FORMAT_VERSION = "1.0"
# So many failures in a row are the broker's, not the letters'; each may take ten seconds.
MAX_FAILURES_IN_A_ROW = 5


def run(options: argparse.Namespace) -> int:
    """Carry out one verb of `mqbridge dlq`; return 0 fine, 1 not all, 2 could not run."""
    try:
        rules = load(options.rules)
        queues = [_queue(options.queue)] if options.queue else queues_of(rules)
        state = Redriven(Path(options.state) if options.state else default_path())
    except InvalidRules as error:
        print_faults(options.rules, error.faults, sys.stderr)
        return 2
    except (RulesError, _BadQueue, OSError, UnicodeDecodeError) as error:
        say(str(error))
        return 2
    if not queues:
        say(f"{options.rules}: no dead-letter queue is named")
        return 2
    with ExitStack() as stack:
        letters = _Letters(queues, rules, state, options, stack)
        if options.verb == "list":
            return _list(letters, options.format)
        if options.verb == "show":
            return _show(letters)
        return _redrive(letters, rules, state, options, stack)


class _BadQueue(Exception):
    """What --queue names is no dead-letter queue."""


def _queue(arn: str) -> DeadLetterQueue:
    faults: list[Fault] = []
    if settings_of(DeadLetterQueue)["arn"].kind.read(arn, ("--queue",), faults) is INVALID:
        helps = "".join(f"\n  help: {fault.help}" for fault in faults if fault.help)
        raise _BadQueue(f"--queue: expected {faults[0].expected}, got {faults[0].got}{helps}")
    return DeadLetterQueue(arn=arn)


class _Letters:
    """The letters that the command line asks for, out of all queues; `has_failed` tells that some queue could not be read."""

    def __init__(
        self,
        queues: list[DeadLetterQueue],
        rules: Rules,
        state: Redriven,
        options: argparse.Namespace,
        stack: ExitStack,
    ) -> None:
        self._queues, self._rules, self._state, self._stack = queues, rules, state, stack
        self._max = options.max
        self._selection = Selection(
            rules=frozenset(options.rule),
            stages=frozenset(options.stage),
            reasons=frozenset(options.reason),
            ids=frozenset(options.id),
            since_s=options.since,
            until_s=options.until,
        )
        self.has_failed = False

    def __iter__(self) -> Iterator[tuple[Store, StoredLetter]]:
        taken = 0
        for queue in self._queues:
            try:
                store = open_store(queue, self._rules, self._state)
                self._stack.callback(store.close)
                for letter in store.read():
                    if self._selection.wants(letter):
                        if taken == self._max:
                            say(f"stopped after {taken} letters, as --max says: there are more")
                            return
                        taken += 1
                        yield store, letter
            except StoreError as error:
                say(str(error))
                self.has_failed = True


# list and show.


def _list(letters: _Letters, output: str) -> int:
    groups = Groups()
    for _, letter in letters:
        groups.add(letter)
    if output == "json":
        entries = [_group_document(group) for group in groups.all()]
        print(json.dumps({"format_version": FORMAT_VERSION, "groups": entries}, indent=2))
    else:
        _print_groups(groups.all())
    return 2 if letters.has_failed else 0


def _group_document(group: Group) -> dict[str, Any]:
    return {
        "queue": group.queue,
        "rule": group.rule,
        "stage": group.stage,
        "reason": group.reason,
        "count": group.count,
        "oldest": rfc3339(group.oldest_s),
        "newest": rfc3339(group.newest_s),
        "example": group.example,
    }


def _print_groups(groups: list[Group]) -> None:
    queue = None
    rows = [("COUNT", "RULE", "STAGE", "REASON", "OLDEST", "NEWEST", "EXAMPLE")]
    for group in groups:
        oldest, newest = rfc3339(group.oldest_s)[:19] + "Z", rfc3339(group.newest_s)[:19] + "Z"
        rule = group.rule or "-"
        rows.append((str(group.count), rule, group.stage or "-", group.reason, oldest, newest, group.example))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for group, row in zip(groups, rows[1:], strict=True):
        if group.queue != queue:
            queue = group.queue
            print(queue)
            print(_row(rows[0], widths))
        print(_row(row, widths))
    if not groups:
        say("no dead letters")


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    count, *others = cells
    padded = [cell.ljust(width) for cell, width in zip(others, widths[1:], strict=True)]
    return "  ".join(["", count.rjust(widths[0]), *padded]).rstrip()


def _show(letters: _Letters) -> int:
    count = 0
    for _, letter in letters:
        print(json.dumps(letter.as_document(), indent=2, ensure_ascii=False))
        count += 1
    if letters.has_failed:
        return 2
    if not count:
        say("no such dead letter")
    return 0 if count else 1


# redrive.


def _redrive(letters: _Letters, rules: Rules, state: Redriven, options: argparse.Namespace, stack: ExitStack) -> int:
    if options.apply:
        try:
            stack.callback(state.close)
            state.open()
        except (StateInUse, OSError) as error:
            say(str(error))
            return 2
    sinks = OpenSinks(rules)
    stack.callback(sinks.close)
    run = _Run(rules, sinks, options)
    for store, letter in letters:
        run.take(store, letter)
        if run.failures_in_a_row == MAX_FAILURES_IN_A_ROW:
            say(f"stopped: {MAX_FAILURES_IN_A_ROW} letters in a row have failed")
            break
    run.print_summary()
    if letters.has_failed:
        return 2
    return 0 if run.is_all_well else 1


class _Run:
    """One redrive: letter by letter, at the rate that was asked for."""

    def __init__(self, rules: Rules, sinks: OpenSinks, options: argparse.Namespace) -> None:
        self._rules, self._sinks = rules, sinks
        self._applies, self._forces = bool(options.apply), bool(options.force)
        self._is_json = options.format == "json"
        self._interval_s = 1 / options.rate if options.rate else 0.0
        self._next_s = 0.0
        self._handled: set[str] = set()
        self._counts: Counter[str] = Counter()
        self.failures_in_a_row = 0
        self.is_all_well = True

    def take(self, store: Store, letter: StoredLetter) -> None:
        """Redrive a letter, or plan it, and print what became of it."""
        if letter.redrive_of in self._handled:
            return  # it failed a moment ago, in this very run
        self._handled.add(letter.id)
        planned: list[Planned] = []
        reason = why_not_again(letter, force=self._forces)
        if reason:
            result = Result("skipped", reason)
        else:
            try:
                planned = plan(letter, self._rules)
                result = self._sent(store, letter, planned) if self._applies else _would(planned)
            except NotRedrivable as error:
                result = Result("skipped", str(error))
        self._note(letter, planned, result)

    def _sent(self, store: Store, letter: StoredLetter, planned: list[Planned]) -> Result:
        self._keep_the_rate()
        result = send(letter, planned, self._rules, self._sinks)
        if result.is_done:
            try:
                store.remove(letter)
            except StoreError as error:
                self.is_all_well = False
                say(f"{error}; it may be sent once more")
        return result

    def _keep_the_rate(self) -> None:
        now = time.monotonic()
        if now < self._next_s:
            time.sleep(self._next_s - now)
        self._next_s = max(now, self._next_s) + self._interval_s

    def _note(self, letter: StoredLetter, planned: list[Planned], result: Result) -> None:
        self._counts[result.outcome] += 1
        self.is_all_well = self.is_all_well and result.outcome in ("delivered", "send")
        if result.outcome != "skipped":  # which says nothing of any broker
            self.failures_in_a_row = self.failures_in_a_row + 1 if result.outcome == "failed" else 0
        lines = [render_plan(0, each) for each in planned]
        messages = [message for line in lines for message in line["messages"]]
        if self._is_json:
            told = {"letter": letter.id, "queue": letter.queue, "rule": letter.rule, "outcome": result.outcome}
            more = {"detail": result.detail} if result.detail else {}
            shown = {} if self._applies else {"messages": messages}
            print(json.dumps({**told, **more, **shown}, ensure_ascii=False), flush=True)
            return
        where = ", ".join(f"{each['to']} {each['instance']} {each['topic']}" for each in messages)
        arrow = f" -> {where}" if where and result.outcome in ("delivered", "send") else ""
        detail = f": {result.detail}" if result.detail else ""
        print(f"{letter.id} {letter.rule or '-'} {result.outcome}{arrow}{detail}", flush=True)

    def print_summary(self) -> None:
        """Print how many letters had which outcome."""
        if self._is_json:
            summary = {"format_version": FORMAT_VERSION, "applied": self._applies, "summary": dict(self._counts)}
            print(json.dumps(summary))
            return
        counts = ", ".join(f"{count} {word}" for word, count in sorted(self._counts.items())) or "no dead letters"
        print(f"summary: {counts}")
        if not self._applies and self._counts:
            say("nothing was sent: --apply sends")


def _would(planned: list[Planned]) -> Result:
    """Return what sending would begin with; what a broker says of it nobody knows before."""
    for each in planned:
        if not isinstance(each.outcome, Send):
            word = render_plan(0, each)
            return Result(word["outcome"], word["reason"])
    return Result("send")
