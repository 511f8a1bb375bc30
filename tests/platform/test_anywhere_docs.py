"""docs/deploy-anywhere.md: its commands run as they stand, but for the port; its container file has what it copies; its costs are right."""

import json
import math
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from devstack.ports import free_port
from devstack.processes import ManagedProcess
from mqbridge.http_server import MAX_AT_ONCE
from tests.platform.brokers import bodies
from tests.platform.conftest import ROOT
from tests.unit.rocketmq_remoting.scripted_broker import ScriptedCluster

PAGE = (ROOT / "docs/deploy-anywhere.md").read_text()


def section(title: str) -> str:
    found = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, title
    return found


def blocks(title: str, language: str = "") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section(title), re.S)


def lines(text: str) -> list[str]:
    return text.replace(" \\\n", " ").splitlines()


SETUP, MESSAGES, PLAIN = blocks("On this machine, with functions-framework")
EXPORTS = dict(re.findall(r"^export (\w+)=(.*)$", SETUP, re.M))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the page's commands name, with rules whose broker is the test's."""
    for name in ("functions", "layers", "config", "examples/demo"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


@contextmanager
def served(project: Path, command: str, cluster: ScriptedCluster, log_path: Path) -> Iterator[int]:
    """Run the page's set-up and then `command`; give the port that it serves."""
    rules = project / "examples/demo/rules.yaml"
    document = yaml.safe_load(rules.read_text())
    document["Instances"]["RocketMQ"][0]["NameServers"] = [cluster.name_server.address]
    rules.write_text(yaml.safe_dump(document))
    for line in lines(SETUP):
        if line.startswith((".venv/bin/python ", "mkdir ")):
            subprocess.run(shlex.split(line), cwd=project, check=True, capture_output=True, timeout=60)
    port = free_port()
    assert "--port 8080" in command
    process = ManagedProcess(
        "server",
        ["/usr/bin/env", "--chdir", str(project), *shlex.split(command.replace("--port 8080", f"--port {port}"))],
        log_path=log_path,
        environment=EXPORTS,
    )
    process.start(
        lambda: "401" in curl(f"curl -sS -o /dev/null -w %{{http_code}} -d x http://127.0.0.1:{port}/"), timeout_s=30
    )
    try:
        yield port
    finally:
        process.stop()


def curl(command: str) -> str:
    return subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize("command", [lines(SETUP)[-1], PLAIN.strip()], ids=["functions-framework", "http_server"])
def test_the_first_messages_arrive(
    command: str, project: Path, scripted_rocketmq: ScriptedCluster, tmp_path: Path
) -> None:
    with served(project, command, scripted_rocketmq, tmp_path / "log") as port:
        for line in lines(MESSAGES):
            assert json.loads(curl(line.replace(":8080/", f":{port}/"))) == {"records": 1, "failed": []}
    assert bodies(scripted_rocketmq)["telemetry"] == [b"21.5", b"\x00\x01\xff", b"any bytes"]


def test_the_exports_are_all_that_a_server_needs() -> None:
    assert set(EXPORTS) == {"MQBRIDGE_RULES", "MQBRIDGE_HTTP_AUTH", "HTTP_TOKEN", "PYTHONPATH"}
    (line,) = lines(blocks("Commands by a schedule")[0])
    words = shlex.split(line)
    assert json.loads(words[words.index("-d") + 1]) == {"mqbridge": "pull"}
    assert f"Bearer {EXPORTS['HTTP_TOKEN']}" in line


def instructions() -> list[tuple[str, str]]:
    text, _boto3 = blocks("A container", "dockerfile")
    return [(kind, rest) for kind, _, rest in (line.partition(" ") for line in lines(text))]


def test_the_container_file_copies_what_is_there_and_pins_what_is_tested() -> None:
    copied = [shlex.split(rest)[0] for kind, rest in instructions() if kind == "COPY"]
    assert {each for each in copied if not (ROOT / each).exists()} <= {".rules"}
    (run,) = [rest for kind, rest in instructions() if kind == "RUN"]
    (version,) = re.findall(r"functions-framework==([\w.]+)", run)
    assert f"\nfunctions-framework=={version} " in (ROOT / "requirements-dev.txt").read_text()
    assert "--require-hashes -r requirements.txt" in run
    _, boto3 = blocks("A container", "dockerfile")
    (version,) = re.findall(r"^RUN pip install --no-cache-dir boto3==([\w.]+)$", boto3, re.M)
    assert f"\nboto3=={version} " in (ROOT / "requirements-dev.txt").read_text()
    assert not re.search(r"^boto3==", (ROOT / "layers/common/requirements.txt").read_text(), re.M)
    assert ("CMD", '["functions-framework"]') in instructions()


def test_what_the_container_has_is_enough_to_serve(tmp_path: Path, scripted_rocketmq: ScriptedCluster) -> None:
    """Its files in one folder, its variables, its command; and the packages of this environment instead of its own."""
    app = tmp_path / "app"
    app.mkdir()
    rules = {
        "Instances": {
            "Mqtt": [{"InstanceId": "mqtt", "Endpoint": "mqtt://127.0.0.1:1"}],
            "RocketMQ": [{"InstanceId": "rmq", "NameServers": [scripted_rocketmq.name_server.address]}],
        },
        "OutboundRules": [{"RuleId": "out", "Source": {"Topic": "devices"}, "Destination": {"Topic": "telemetry"}}],
    }
    (app / "rules.json").write_text(json.dumps(rules))
    variables: dict[str, str] = {}
    for kind, rest in instructions():
        words = shlex.split(rest)
        if kind == "COPY" and (ROOT / words[0]).is_dir() and words[0] != ".rules":
            shutil.copytree(ROOT / words[0], app / words[1], ignore=shutil.ignore_patterns("__pycache__"))
        if kind == "ENV":
            variables |= dict(each.split("=", 1) for each in words)
    variables = {name: value.replace("/app", str(app)) for name, value in variables.items()}
    port = free_port()
    process = ManagedProcess(
        "container",
        ["/usr/bin/env", "--chdir", str(app), str(ROOT / ".venv/bin/functions-framework")],
        log_path=tmp_path / "log",
        environment={**variables, "PORT": str(port), "MQBRIDGE_HTTP_AUTH": "env:HTTP_TOKEN", "HTTP_TOKEN": "change-me"},
    )
    process.start(
        lambda: "401" in curl(f"curl -sS -o /dev/null -w %{{http_code}} -d x http://127.0.0.1:{port}/"), timeout_s=30
    )
    try:
        said = curl(lines(MESSAGES)[0].replace(":8080/", f":{port}/"))
    finally:
        process.stop()
    assert json.loads(said) == {"records": 1, "failed": []}
    assert bodies(scripted_rocketmq)["telemetry"] == [b"21.5"]


def test_the_manifests_are_yaml_and_name_targets_that_are_there() -> None:
    service, trigger = yaml.safe_load_all(blocks("Knative", "yaml")[0])
    (container,) = service["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert trigger["spec"]["subscriber"]["ref"]["name"] == service["metadata"]["name"]
    assert service["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local", (
        "platform is all it asks"
    )
    assert service["spec"]["template"]["spec"]["containerConcurrency"] <= MAX_AT_ONCE
    ping = yaml.safe_load(blocks("Commands by a schedule", "yaml")[0])
    event = json.loads((ROOT / "tests/events/schedule-cloudevent.json").read_text())
    assert json.loads(ping["spec"]["data"]) == event["data"]
    assert f"/{ping['kind'].lower()}s/{ping['metadata']['name']}" in event["source"]
    stack = yaml.safe_load(blocks("OpenFaaS", "yaml")[0])
    (function,) = stack["functions"].values()
    main = (ROOT / "functions/main.py").read_text()
    targets = {variables["FUNCTION_TARGET"], function["environment"]["FUNCTION_TARGET"]}
    targets |= set(re.findall(r"^\| `(\w+)` \| ", PAGE.partition("\n## ")[0], re.M))
    assert targets == set(re.findall(r"^def (\w+)\(request", main, re.M))
    assert {variables["MQBRIDGE_HTTP_AUTH"], function["environment"]["MQBRIDGE_HTTP_AUTH"]} == {
        "platform",
        "file:/var/openfaas/secrets/http-token",
    }


def test_make_targets_and_files_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", PAGE, re.M))
    assert targets == {"setup", "demo-up"}
    assert all(f"\n{target}: " in makefile for target in targets)
    files = set(re.findall(r"\b(?:tests|examples|config|functions|benchmarks)/[\w./-]+\.\w+", PAGE))
    files |= {f"docs/{name}" for name in re.findall(r"\]\(([\w-]+\.md)", PAGE)}
    assert len(files) > 8
    assert [file for file in sorted(files) if not (ROOT / file).exists()] == []


def test_links_lead_to_headings_that_are_there() -> None:
    def anchors(page: str) -> set[str]:
        titles = re.findall(r"^#+ (.+)$", page, re.M)
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

    for name in ("deploy-anywhere.md", "deploy-aws.md", "deploy-fc.md", "status.md", "triggers.md"):
        page = (ROOT / "docs" / name).read_text()
        for target, anchor in re.findall(r"\]\(([\w-]+\.md)?#([\w-]+)\)", page):
            assert anchor in anchors((ROOT / "docs" / (target or name)).read_text()), f"{name}: {target}#{anchor}"


def test_costs_are_what_the_formula_gives() -> None:
    rows = re.findall(r"^\| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d.]+) \|$", section("What it costs"), re.M)
    assert len(rows) == 4
    for row in rows:
        messages, requests, seconds, price = (float(each.replace(",", "")) for each in row)
        assert requests == 1_000_000 / messages
        each_s = math.ceil(round((0.02 + 0.0001 * messages) * 10, 9)) / 10
        assert seconds == round(requests * each_s)
        exact = requests * 0.40 / 1_000_000 + seconds * (0.000024 + 0.5 * 0.0000025)
        assert abs(price - exact) <= 0.00051
