"""Run tests of rules and print what became of them. Exit codes: 0 all hold, 1 some do not, 2 some could not be run."""

import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mqbridge.rules import InvalidRules, Rules, RulesError, load
from mqbridge.triggers import UnreadableEvent
from mqbridge_cli.validate import print_faults

from .comparing import differences
from .document import RuleTest, read_tests
from .finding import NoTests, Pair, pairs_of
from .given import UnreadableFile
from .report import FileReport, TestReport, file_lines, junit, summary_lines
from .running import Result, run_test, testable
from .updating import CannotUpdate, expectation_of, updated

__all__ = ["run"]


def run(paths: Sequence[str], junit_path: str | None = None, *, updates: bool = False) -> int:
    """Run the tests of the rules at `paths`, and print each; return 0, 1 if a test fails, 2 if one cannot be run."""
    try:
        pairs = list(dict.fromkeys(pair for path in paths for pair in pairs_of(Path(path))))
    except (NoTests, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    files = []
    for pair in pairs:
        file = _run_file(pair, updates=updates)
        files.append(file)
        if file.unreadable:
            print(file.unreadable, end="", file=sys.stderr)
        else:
            print("\n".join(file_lines(file)))
    print("\n".join(summary_lines(files)))
    if junit_path is not None:
        try:
            Path(junit_path).write_text(junit(files), encoding="utf-8")
        except OSError as error:
            print(f"{junit_path}: cannot be written: {error.strerror or error}", file=sys.stderr)
            return 2
    verdicts = {report.verdict for file in files for report in file.reports}
    if "error" in verdicts or any(file.unreadable for file in files):
        return 2
    return 1 if "failed" in verdicts else 0


def _run_file(pair: Pair, *, updates: bool) -> FileReport:
    try:
        rules = _rules(pair.rules)
        document = read_tests(pair.tests, rules)
    except InvalidRules as error:
        text = io.StringIO()
        print_faults(error.name, error.faults, text)
        return FileReport(rules=pair.rules, tests=pair.tests, unreadable=text.getvalue())
    except RulesError as error:
        return FileReport(rules=pair.rules, tests=pair.tests, unreadable=f"{error}\n")
    reports, touched, failed = [], set[str](), []
    for at, test in enumerate(document.tests):
        report, result = _run_one(test, document.positions[at], rules, pair.tests.parent)
        reports.append(report)
        touched |= result.touched
        if report.verdict == "failed":
            failed.append((at, test, result))
    if updates and failed:
        _update(pair.tests, failed)
    untouched = [name for name in testable(rules) if name not in touched]
    return FileReport(rules=pair.rules, tests=pair.tests, reports=reports, untouched=untouched)


def _rules(path: Path) -> Rules:
    rules = load(path)
    if not rules.streamings:
        return rules
    from .offline import OfflineOutside  # here, because it loads what only tasks need

    return load(path, outside=OfflineOutside(path.parent))


def _run_one(test: RuleTest, place: tuple[int, int], rules: Rules, folder: Path) -> tuple[TestReport, Result]:
    started = time.perf_counter()
    line, column = place
    result, found, error = Result(), [], ""
    try:
        result = run_test(test, rules, folder)
        found = differences(test.expect, result)
    except (UnreadableFile, UnreadableEvent) as caught:
        error = str(caught)
    seconds = time.perf_counter() - started
    report = TestReport(name=test.name, line=line, column=column, seconds=seconds, differences=found, error=error)
    return report, result


def _update(path: Path, failed: Sequence[tuple[int, RuleTest, Result]]) -> None:
    """Rewrite the expectations that do not hold, and say which could not be."""
    before = text = path.read_text(encoding="utf-8")
    for at, test, result in failed:
        try:
            if path.suffix not in (".yaml", ".yml"):
                raise CannotUpdate("only YAML can be rewritten")
            text = updated(text, at, expectation_of(result, test.expect))
            print(f"{path}: updated: {test.name}", file=sys.stderr)
        except CannotUpdate as error:
            print(f"{path}: not updated: {test.name}: {error}", file=sys.stderr)
    if text != before:
        path.write_text(text, encoding="utf-8")
