"""mqbridge validate and dry-run: output, exit codes, and that the README shows them as they are."""

import io
import json
from pathlib import Path

import pytest

from mqbridge_cli.main import main

ROOT = Path(__file__).parents[3]
DEMO = str(ROOT / "examples/demo/rules.yaml")


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_valid_document_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", DEMO]) == 0
    assert capsys.readouterr().out == ""


def test_readme_shows_what_validate_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "examples/faulty.yaml"]) == 1
    assert capsys.readouterr().out in (ROOT / "README.md").read_text()


def test_readme_shows_what_dry_run_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dry-run", "inbound", "--rules", "examples/demo/rules.yaml", "examples/command.json"]) == 0
    assert capsys.readouterr().out in (ROOT / "README.md").read_text()


def test_json_format_has_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--format", "json", "examples/faulty.yaml"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["format_version"] == "1.0"
    assert [(fault["code"], fault["path"], fault["line"]) for fault in document["faults"]] == [
        ("MB105", "Instances.Mqtt[0].Password", 7),
        ("MB102", "OutboundRules[0].Source", 11),
        ("MB101", "OutboundRules[0].Sorce", 12),
    ]


def test_github_format_is_an_annotation_per_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--format", "github", "examples/faulty.yaml"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2] == (
        "::error file=examples/faulty.yaml,line=12,col=5,title=MB101::OutboundRules[0].Sorce: expected one of the keys "
        "RuleId, Description, Status, Source, Destination, RunOptions, got 'Sorce'%0Ahelp: did you mean Source?"
    )


def test_github_format_escapes_what_the_runner_would_take_for_its_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "a,b:100%.json"
    path.write_text('{"Instances": {}, "50%": 1}')
    assert main(["validate", "--format", "github", str(path)]) == 1
    line = capsys.readouterr().out
    assert f"file={tmp_path}/a%2Cb%3A100%25.json,line=1,col=19,title=MB101::50%25: expected" in line


def test_github_format_shows_a_notice_as_one_and_says_what_cannot_be_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "rules.json"
    options = {"RunOptions": {"MaximumTasks": 1}}
    path.write_text(json.dumps({"Instances": {}, "Defaults": options}))
    assert main(["validate", "--format", "github", str(path)]) == 0
    assert capsys.readouterr().out.startswith(f"::notice file={path},line=1,col=")
    assert main(["validate", "--format", "github", "nowhere.yaml"]) == 2
    assert capsys.readouterr().out == "::error file=nowhere.yaml::cannot be read: No such file or directory\n"


@pytest.mark.parametrize("command", [["validate"], ["dry-run", "outbound", "--rules"], ["run", "--rules"]])
def test_unreadable_document_exits_2(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "nowhere.yaml"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nowhere.yaml: cannot be read: No such file or directory" in captured.err


@pytest.mark.parametrize("command", [["dry-run", "outbound", "--rules"], ["run", "--rules"]])
def test_faulty_document_runs_nothing(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "examples/faulty.yaml"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "MB105 Instances.Mqtt[0].Password" in captured.err
    assert "hunter2" not in captured.err


def test_dry_run_reads_one_event_per_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    event = json.dumps(json.loads((ROOT / "examples/command.json").read_text()))
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{event}\n\n{event}\n"))
    assert main(["dry-run", "inbound", "--rules", DEMO]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["event"], line["outcome"]) for line in lines] == [(0, "send"), (1, "send")]


def test_dry_run_shows_what_is_no_unicode(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    line = '[{"specversion": "1.0", "id": "\\ud800", "source": "s", "type": "t", "data": {"topic": "commands", "body": "on"}}]\n'
    monkeypatch.setattr("sys.stdin", io.StringIO(line))
    assert main(["dry-run", "inbound", "--rules", "examples/demo/rules.yaml"]) == 0
    assert json.loads(capsys.readouterr().out)["record"] == "\ud800"


def test_dry_run_exits_1_when_a_record_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dry-run", "outbound", "--rules", DEMO, "tests/events/outbound-sqs.json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["outcome"] for line in lines] == ["send", "reject"]
    assert "payload_b64: expected Base64 text" in lines[1]["reason"]


def test_dry_run_goes_on_after_an_unreadable_event_and_exits_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    event = json.dumps(json.loads((ROOT / "examples/command.json").read_text()))
    monkeypatch.setattr("sys.stdin", io.StringIO(f"not JSON\n{event}\n"))
    assert main(["dry-run", "inbound", "--rules", DEMO, "-"]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["event"] == 1
    assert "event 0" in captured.err


def test_dry_run_of_a_missing_event_file_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dry-run", "inbound", "--rules", DEMO, "nowhere.json"]) == 2
    assert "nowhere.json" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["dry-run", "sideways", "--rules", DEMO], ["validate"]])
def test_bad_usage_exits_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
