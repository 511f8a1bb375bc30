"""mqbridge test: what is said at the end, of documents that are none, of what belongs together, and as JUnit."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from mqbridge.rules import InvalidRules, format_path, load
from mqbridge_cli.main import main
from mqbridge_cli.rule_tests.document import read_tests
from tests.unit.cli.rule_tests_project import RULES, TASK, Project, messages, publish

# What is said at the end.


def test_rules_and_tasks_that_no_test_touches_are_named(project: Project) -> None:
    project.write_rules(
        {**RULES, "EventStreamings": [{**TASK, "Source": {"SourceMQTTParameters": {"Topic": "screens"}}}]}
    )
    project.one(publish(), messages({}))
    assert project.out.splitlines()[-2:] == [
        "1 test: 1 passed, 0 failed",
        f"no test touches, of {project.rules}: hot-readings, commands",
    ]


def test_a_failed_test_has_its_place(project: Project) -> None:
    project.write_tests("""
        Tests:
          - Name: first
            Given: {Publish: {Topic: devices/d1}}
            Expect: {Messages: [{}]}

          - Name: second
            Given: {Publish: {Topic: devices/d1}}
            Expect: {None: {}}
    """)
    assert project.run() == 1
    assert "  ok     first" in project.out
    assert f"  FAILED second ({project.tests}:7:5)" in project.out


def test_a_test_that_cannot_be_run_is_an_error_and_stops_no_other(project: Project) -> None:
    (project.folder / "other.json").write_text('{"a": 1}')
    project.write_tests("""
        Tests:
          - {Name: no file, Given: {Event: nowhere.json}, Expect: {None: {}}}
          - {Name: no event, Given: {Event: other.json}, Expect: {None: {}}}
          - {Name: sound, Given: {Publish: {Topic: devices/d1}}, Expect: {Messages: [{}]}}
    """)
    assert project.run() == 2
    assert "ERROR no file" in project.out
    assert f"{project.folder / 'nowhere.json'}: No such file or directory" in project.out
    assert "the event is none that is known" in project.out
    assert "3 tests: 1 passed, 0 failed, 2 could not be run" in project.out


# The document of tests.


def faults(project: Project, text: str) -> list[str]:
    project.write_tests(text)
    with pytest.raises(InvalidRules) as raised:
        read_tests(project.tests, load(project.rules))
    return [
        f"{each.line}:{each.column} {each.code} {format_path(each.path)} {each.help}".strip()
        for each in raised.value.faults
    ]


def test_faults_of_a_document_of_tests_have_code_place_and_help(project: Project) -> None:
    found = faults(
        project,
        """\
        Tests:
          - Name: one
            Given: {Publish: {Topik: devices/d1, Topic: devices/d1}}
            Expect: {Message: []}
          - Given: {Publish: {Topic: devices/+, UserProperties: {k: 1}}}
            Expect: {None: {}, Messages: [{}]}
          - Name: three
            Given: {}
            Expect: {Messages: []}
        """,
    )
    assert found == [
        "3:23 MB101 Tests[0].Given.Publish.Topik did you mean Topic?",
        "4:14 MB101 Tests[0].Expect.Message did you mean Messages?",
        "5:5 MB102 Tests[1].Name",
        "5:23 MB104 Tests[1].Given.Publish.Topic",
        "5:58 MB104 Tests[1].Given.Publish.UserProperties.k put it in quotes: properties are text",
        "6:5 MB104 Tests[1].Expect",
        "8:5 MB104 Tests[2].Given",
        "9:14 MB104 Tests[2].Expect.Messages",
    ]


def test_a_test_names_a_rule_that_is_there_and_has_a_name_of_its_own(project: Project) -> None:
    found = faults(
        project,
        """\
        Tests:
          - {Name: one, Rule: telemetri, Given: {Publish: {Topic: a, Payload: x, PayloadBase64: ""}}, Expect: {None: {}}}
          - {Name: one, Rule: nothing, Given: {RocketMQ: {Topic: a, Body: x, BodyFile: x}}, Expect: {None: {}}}
        """,
    )
    assert found == [
        "2:17 MB401 Tests[0].Rule did you mean telemetry?",
        "2:42 MB212 Tests[0].Given.Publish",
        "3:6 MB202 Tests[1].Name",
        "3:17 MB401 Tests[1].Rule",
        "3:40 MB212 Tests[1].Given.RocketMQ",
    ]


@pytest.mark.parametrize("text", ["Tests: {}", "[]", "Test: []", "Tests:\nTests: []\nTests: []", "a: [", ""])
def test_a_document_that_is_none_exits_2_and_says_why(project: Project, text: str) -> None:
    project.tests.write_text(text)
    assert project.run() == 2
    assert str(project.tests) in project.err
    assert "1 file of tests could not be read" in project.out


def test_faulty_rules_run_no_test_and_are_told_as_validate_tells_them(project: Project) -> None:
    project.write_rules({**RULES, "OutboundRules": [{"RuleId": "telemetry", "Sorce": {}}]})
    project.write_tests("Tests: []")
    assert project.run() == 2
    assert "MB101 OutboundRules[0].Sorce" in project.err
    assert "help: did you mean Source?" in project.err


# Which tests belong to which rules.


def test_rules_tests_and_folders_all_find_the_pair(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.one(publish(), messages({}))
    hidden = project.folder / ".venv"
    hidden.mkdir()
    (hidden / "x.test.yaml").write_text("not looked at")
    deep = project.folder / "more" / "deep"
    deep.mkdir(parents=True)
    (deep / "a.json").write_text(json.dumps(RULES))
    (deep / "a.test.yaml").write_text("Tests: []")
    for path, count in ((project.rules, 1), (project.tests, 1), (project.folder, 2), (deep / "a.json", 1)):
        assert main(["test", str(path)]) == 0
        assert capsys.readouterr().out.count(".test.yaml\n") == count
    monkeypatch.chdir(project.folder)
    assert main(["test"]) == 0


def test_a_pair_is_run_once_however_often_it_is_named(project: Project) -> None:
    project.one(publish(), messages({}))
    assert project.run(str(project.tests), str(project.folder)) == 0
    assert "1 test: 1 passed" in project.out


@pytest.mark.parametrize("name", ["rules.yaml", "lonely.test.yaml", "."])
def test_where_the_other_half_is_missing_is_told(
    project: Project, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lonely = project.folder / "lonely.test.yaml"
    if name == lonely.name:
        lonely.write_text("Tests: []")
    assert main(["test", str(project.folder / name)]) == 2
    assert {"rules.yaml": "expected rules.test.yaml", lonely.name: "expected lonely.yaml", ".": "no tests: expected"}[
        name
    ] in capsys.readouterr().err


# JUnit.


def test_junit_has_a_suite_per_file_and_a_case_per_test(project: Project, tmp_path: Path) -> None:
    project.write_tests("""
        Tests:
          - {Name: sound, Given: {Publish: {Topic: devices/d1}}, Expect: {Messages: [{}]}}
          - {Name: "wrong <&>", Given: {Publish: {Topic: devices/d1, Payload: "a\\x01"}}, Expect: {Messages: [{Body: b, Topic: c}]}}
          - {Name: gone, Given: {Event: nowhere.json}, Expect: {None: {}}}
    """)
    (project.folder / "b.yaml").write_text(yaml.safe_dump(RULES))
    (project.folder / "b.test.yaml").write_text("Tests: {}")
    report = tmp_path / "junit.xml"
    assert project.run(str(project.folder / "b.yaml"), "--junit", str(report)) == 2
    first, second = ElementTree.parse(report).getroot()  # noqa: S314  # our own text
    counts = [(suite.get("tests"), suite.get("failures"), suite.get("errors")) for suite in (first, second)]
    assert counts == [("3", "1", "1"), ("1", "0", "1")]
    sound, wrong, gone = first
    assert (sound.get("name"), sound.get("line"), list(sound)) == ("sound", "3", [])
    assert wrong.get("name") == "wrong <&>"
    assert (wrong[0].tag, wrong[0].get("message")) == ("failure", 'Messages[0].Topic: expected "c", got "telemetry"')
    assert 'Messages[0].Body: expected "b", got "a\\u0001"' in str(wrong[0].text)
    assert gone[0].tag == "error"
    assert "MB104 Tests" in str(second[0][0].text)


def test_a_report_that_cannot_be_written_exits_2(project: Project) -> None:
    project.write_tests("Tests: []")
    assert project.run("--junit", str(project.folder / "no" / "folder.xml")) == 2
    assert "cannot be written: No such file or directory" in project.err
