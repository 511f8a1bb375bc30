"""mqbridge dry-run: the plan of events as JSON lines, by the code that runs, without any broker."""

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mqbridge import triggers
from mqbridge.flows import Flow, inbound, outbound, outflow, status
from mqbridge.handler import check_wanted
from mqbridge.outcomes import Failed, Reject
from mqbridge.rendering import render_plan
from mqbridge.rules import InvalidRules, Rules, RulesError, load
from mqbridge_cli.validate import print_faults

__all__ = ["run"]

FLOWS: dict[str, Flow] = {
    "inbound": inbound.plan,
    "outbound": outbound.plan,
    "status": status.plan,
    "outflow": partial(outflow.plan, is_traced=True),
}


def run(flow: str, rules_path: str, event_paths: list[str]) -> int:
    """Plan the events and print a line per record and rule; return 0 planned, 1 something was rejected, 2 unreadable."""
    try:
        rules = load(rules_path)
    except InvalidRules as error:
        print_faults(rules_path, error.faults, sys.stderr)
        return 2
    except RulesError as error:
        print(error, file=sys.stderr)
        return 2
    exit_code = 0
    events = _events(event_paths)
    at = -1
    while True:
        try:
            at, (name, text) = at + 1, next(events)
            batch = triggers.receive(text)
            check_wanted(batch, rules, flow, may_pull=flow == "inbound")
        except StopIteration:
            return exit_code
        except (OSError, UnicodeDecodeError) as error:
            print(f"event {at} cannot be read: {error}", file=sys.stderr)
            return 2
        except triggers.UnreadableEvent as error:
            print(f"{name}: event {at}: {error}", file=sys.stderr)
            exit_code = 2
            continue
        if isinstance(batch, triggers.PullRequest):
            _tell_pull(f"{name}: event {at}", rules)
            continue
        for planned in FLOWS[flow](batch.records, rules, batch.only_rule):
            line = json.dumps(render_plan(at, planned), ensure_ascii=False)
            print(line.encode("utf-8", "backslashreplace").decode())  # a lone surrogate is written as JSON's own escape
            if isinstance(planned.outcome, Reject | Failed):
                exit_code = max(exit_code, 1)


def _tell_pull(event: str, rules: Rules) -> None:
    """Say which topics the function would read: what lies in them is not looked at here."""
    enabled = [rule for rule in rules.inbound if rule.status == "Enabled"]
    print(
        f"{event} asks for a pull; {'the function reads' if enabled else 'no inbound rule is enabled'}", file=sys.stderr
    )
    for rule in enabled:
        source = f"topic {rule.source.topic} of {rule.source.instance_id} as group {rule.consumer_group}"
        print(f"  {source}, by rule {rule.rule_id}", file=sys.stderr)


def _events(paths: list[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        if path == "-":
            yield from (("standard input", line) for line in sys.stdin if line.strip())
        else:
            yield path, Path(path).read_text(encoding="utf-8")
