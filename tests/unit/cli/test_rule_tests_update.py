"""mqbridge test --update: expectations that do not hold are rewritten, and nothing else is."""

import textwrap
from typing import Any

import pytest
import yaml

from tests.unit.cli.rule_tests_project import RULES, TASK, Project, command, messages, publish

# --update.


def test_update_rewrites_what_does_not_hold_and_nothing_else(project: Project) -> None:
    project.write_tests("""\
        # The head stays.
        Tests:
          - Name: part of it   # as does this
            Given:
              Publish: {Topic: devices/d1/up, Payload: '{"t": 1, "u": {"v": [1, 2]}}'}
            Expect:
              Messages:
                - Topic: wrong
                  BodyContains: {t: 2, u: {}, gone: 1}
                  Properties: {mqttSecondTopic: x, gone: y}
                  Tags: hot
            # This belongs to the next.

          - {Name: flow, Given: {Publish: {Topic: screens/s1}}, Expect: {DeadLetter: {}}}  # an aside
          - Name: holds
            Given: {Publish: {Topic: screens/s1}}
            Expect: {None:   {} }
          - Name: another kind
            Expect:
              # why
              None: {}
            Given: {RocketMQ: {Topic: commands, Properties: {mqttSecondTopic: /a, qoslevel: "0"}}}
          - Name: a dead letter
            Given: {RocketMQ: {Topic: commands, Properties: {qoslevel: "7"}}}
            Expect: {None: {}}
        """)
    assert project.run("--update") == 1
    assert "FAILED part of it" in project.out
    assert project.err.splitlines() == [
        f"{project.tests}: updated: {name}" for name in ("part of it", "flow", "another kind", "a dead letter")
    ]
    assert project.tests.read_text() == textwrap.dedent("""\
        # The head stays.
        Tests:
          - Name: part of it   # as does this
            Given:
              Publish: {Topic: devices/d1/up, Payload: '{"t": 1, "u": {"v": [1, 2]}}'}
            Expect:
              Messages:
                - Topic: telemetry
                  BodyContains:
                    t: 1
                    u: {}
                  Tags: ''
                  Properties: {mqttSecondTopic: /d1/up, gone: null}
            # This belongs to the next.

          - {Name: flow, Given: {Publish: {Topic: screens/s1}}, Expect: {None: {Reason: no_rule}}}  # an aside
          - Name: holds
            Given: {Publish: {Topic: screens/s1}}
            Expect: {None:   {} }
          - Name: another kind
            Expect:
              # why
              Messages:
                - {Topic: devices/a, Qos: 0, Payload: ''}
            Given: {RocketMQ: {Topic: commands, Properties: {mqttSecondTopic: /a, qoslevel: "0"}}}
          - Name: a dead letter
            Given: {RocketMQ: {Topic: commands, Properties: {qoslevel: "7"}}}
            Expect:
              DeadLetter: {Reason: invalid_qos, Stage: processing}
        """)
    assert project.run() == 0


@pytest.mark.parametrize(
    ("expect", "why"),
    [
        ("\n      None: {}  # dropped\n      # or not\n", ""),
        ("\n      Messages:\n        # the first\n        - {Topic: a}\n", "its Expect has a comment in it"),
        (" &same {None: {}}\n", "its Expect has an anchor or refers to one"),
    ],
)  # fmt: skip
def test_update_loses_no_comment_and_no_anchor(project: Project, expect: str, why: str) -> None:
    before = f"Tests:\n  - Name: one\n    Given: {{Publish: {{Topic: devices/d1}}}}\n    Expect:{expect}"
    project.tests.write_text(before)
    assert project.run("--update") == 1
    after = project.tests.read_text()
    if why:
        assert after == before
        assert f"not updated: one: {why}" in project.err
    else:
        assert "# dropped" in after
        assert "# or not" in after
        assert project.run() == 0


def test_update_writes_down_what_no_expectation_was_there_for(project: Project) -> None:
    for given in (publish('{"t": 1}'), {"Publish": {"Topic": "devices/d1", "PayloadBase64": "AAH/"}}, command("on")):
        project.tests.write_text(yaml.safe_dump({"Tests": [{"Name": "one", "Given": given, "Expect": {"None": {}}}]}))
        assert project.run("--update") == 1
        assert project.run() == 0
        (expected,) = yaml.safe_load(project.tests.read_text())["Tests"][0]["Expect"]["Messages"]
        assert "Topic" in expected
        assert {"Body", "BodyBase64", "Payload"} & set(expected)
        assert "mqbridge-origin" not in str(expected)


@pytest.mark.parametrize(
    "said",
    [{"Body": "x"}, {"BodyJson": 1}, {"BodyContains": {"a": 1}}, {"BodyBase64": "AAAA"}, {"Payload": "x"}, {"Body": "x", "Keys": "y"}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("payload", [b'{"a": 2}', b"text", b"\xff"])
def test_update_says_a_body_in_a_way_that_it_has(project: Project, said: dict[str, Any], payload: bytes) -> None:
    (project.folder / "payload").write_bytes(payload)
    given = {"Publish": {"Topic": "devices/d1", "PayloadFile": "payload"}}
    project.tests.write_text(yaml.safe_dump({"Tests": [{"Name": "one", "Given": given, "Expect": messages(said)}]}))
    assert project.run("--update") == 1
    assert project.run() == 0, project.tests.read_text()


def test_update_leaves_what_no_expectation_can_say(project: Project) -> None:
    project.write_rules({**RULES, "Defaults": {}, "EventStreamings": [TASK]})
    project.write_tests("""
        Tests:
          - {Name: no queue, Given: {RocketMQ: {Topic: commands, Properties: {qoslevel: "7"}}}, Expect: {None: {}}}
    """)
    before = project.tests.read_text()
    assert project.run("--update") == 1
    assert "not updated: no queue: no expectation says: rejected, without a dead-letter queue" in project.err
    project.write_rules({**RULES, "EventStreamings": [TASK]})
    project.write_tests("Tests: [{Name: two, Given: {Publish: {Topic: devices/d1, Payload: x}}, Expect: {None: {}}}]")
    assert project.run("--update") == 1
    assert "not updated: two: several rules did different things: name one with Rule" in project.err
    assert "no queue" in before


def test_update_rewrites_yaml_only(project: Project) -> None:
    tests = project.folder / "rules.test.json"
    tests.write_text(
        '{"Tests": [{"Name": "one", "Given": {"Publish": {"Topic": "devices/d1"}}, "Expect": {"None": {}}}]}'
    )
    assert project.run("--update") == 1
    assert "not updated: one: only YAML can be rewritten" in project.err
