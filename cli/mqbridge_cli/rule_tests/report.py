"""What became of rule tests: for people as text, for build servers as JUnit XML. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from .comparing import Difference

__all__ = ["FileReport", "TestReport", "file_lines", "junit", "summary_lines"]

# XML 1.0 has no way to write these.
_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class TestReport:
    """What became of one test. `error` says why it could not be run; "" if it was."""

    __test__ = False  # for pytest: no class of tests

    name: str
    line: int
    column: int
    seconds: float = 0.0
    differences: Sequence[Difference] = ()
    error: str = ""

    @property
    def verdict(self) -> str:
        """passed, failed or error."""
        return "error" if self.error else "failed" if self.differences else "passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """What became of the tests of one file. `unreadable` says why there are none; `untouched` are rules and tasks without a test."""

    rules: Path
    tests: Path
    reports: Sequence[TestReport] = ()
    untouched: Sequence[str] = ()
    unreadable: str = ""


def file_lines(file: FileReport) -> Iterator[str]:
    """Yield a line per test, and below it what is other than expected."""
    yield str(file.tests)
    for report in file.reports:
        if report.verdict == "passed":
            yield f"  ok     {report.name}"
            continue
        yield f"  {'ERROR' if report.error else 'FAILED'} {report.name} ({file.tests}:{report.line}:{report.column})"
        if report.error:
            yield f"           {report.error}"
        for difference in report.differences:
            yield f"         {difference.path}"
            yield f"           expected {difference.expected}"
            yield f"           got      {difference.got}"


def summary_lines(files: Sequence[FileReport]) -> Iterator[str]:
    """Yield how many tests there were and how they ended, then what no test touches."""
    reports = [report for file in files for report in file.reports]
    counts = {
        verdict: sum(report.verdict == verdict for report in reports) for verdict in ("passed", "failed", "error")
    }
    told = [f"{counts['passed']} passed", f"{counts['failed']} failed"]
    if counts["error"]:
        told.append(f"{counts['error']} could not be run")
    unreadable = sum(bool(file.unreadable) for file in files)
    if unreadable:
        told.append(f"{unreadable} file{'' if unreadable == 1 else 's'} of tests could not be read")
    yield f"{len(reports)} test{'' if len(reports) == 1 else 's'}: {', '.join(told)}"
    for file in files:
        if file.untouched:
            yield f"no test touches, of {file.rules}: {', '.join(file.untouched)}"


def junit(files: Sequence[FileReport]) -> str:
    """Return the reports as JUnit XML, a suite per file."""
    root = ElementTree.Element("testsuites", name="mqbridge test")
    for file in files:
        verdicts = [report.verdict for report in file.reports]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_xml(str(file.tests)),
            tests=str(len(verdicts) or 1),
            failures=str(verdicts.count("failed")),
            errors=str(verdicts.count("error") + bool(file.unreadable)),
            time=f"{sum(report.seconds for report in file.reports):.3f}",
        )
        for report in file.reports:
            case = _case(suite, file, report.name, report.seconds)
            case.set("line", str(report.line))
            if report.error:
                _outcome(case, "error", report.error, report.error)
            elif report.differences:
                first = report.differences[0]
                text = "\n".join(
                    f"{each.path}: expected {each.expected}, got {each.got}" for each in report.differences
                )
                _outcome(case, "failure", f"{first.path}: expected {first.expected}, got {first.got}", text)
        if file.unreadable:
            _outcome(_case(suite, file, "(the file)", 0.0), "error", "the tests cannot be run", file.unreadable)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, file: FileReport, name: str, seconds: float) -> ElementTree.Element:
    attributes = {"name": name, "classname": str(file.rules), "file": str(file.tests), "time": f"{seconds:.3f}"}
    return ElementTree.SubElement(suite, "testcase", {key: _xml(value) for key, value in attributes.items()})


def _outcome(case: ElementTree.Element, kind: str, message: str, text: str) -> None:
    ElementTree.SubElement(case, kind, message=_xml(message)).text = _xml(text)


def _xml(text: str) -> str:
    return _NOT_IN_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
