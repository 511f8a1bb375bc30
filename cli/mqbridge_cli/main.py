"""The `mqbridge` command. Data goes to standard output, talk to standard error.

Exit codes: 0 fine, 1 findings, 2 could not run (bad usage, unreadable file), 130 on Ctrl-C.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from mqbridge_cli import invoke_arguments
from mqbridge_cli.dlq import arguments as dlq_arguments

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        # Imported here, each by itself: a command must not wait for what it does not use.
        if options.command == "validate":
            from mqbridge_cli import validate

            return validate.run(options.rules, options.format)
        if options.command == "dry-run":
            from mqbridge_cli import dry_run

            return dry_run.run(options.flow, options.rules, options.events or ["-"])
        if options.command == "match":
            return _match(options)
        if options.command == "test":
            from mqbridge_cli import rule_tests

            return rule_tests.run(options.rules or ["."], options.junit, updates=options.update)
        if options.command == "schema":
            from mqbridge_cli import schema

            return schema.run()
        if options.command == "dlq":
            from mqbridge_cli.dlq import command as dlq

            return dlq.run(options)
        if options.command == "presence":
            from mqbridge_cli import presence

            return presence.run(options.rules, options.rule, options.format, follows=not options.once)
        if options.command == "task":
            from mqbridge_cli import task

            return task.run(options.task_command, getattr(options, "name", None), options.runner, options.format)
        return _run(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stderr.close()
        return 0


def _match(options: argparse.Namespace) -> int:
    if options.pattern is not None:
        if options.expect is not None or options.format != "text":
            print("mqbridge match: --expect and --format go with --rules only", file=sys.stderr)
            return 2
        from mqbridge_cli import match

        return match.run(options.pattern, options.event, explains=options.explain)
    from mqbridge_cli import match_rules

    return match_rules.run(
        options.rules, options.event, explains=options.explain, expected=options.expect, output=options.format
    )


def _run(options: argparse.Namespace) -> int:
    from mqbridge_cli.runner.holds import default_directory
    from mqbridge_cli.runner.settings import RunSettings

    wrong = invoke_arguments.fault_of(options)
    if wrong:
        print(f"mqbridge run: {wrong}", file=sys.stderr)
        return 2
    settings = RunSettings(
        rules_path=options.rules,
        listen=options.listen,
        state_directory=Path(options.state_dir) if options.state_dir else default_directory(os.environ, Path.home()),
        share=options.share or "",
        part=options.part,
        accepted_path=options.accepted,
        invoke=invoke_arguments.settings_of(options),
    )
    if options.workers > 1:
        from mqbridge_cli.runner import supervisor

        return supervisor.run(settings, options.workers)
    from mqbridge_cli.runner import command

    return command.run(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mqbridge", description="MQTT <-> RocketMQ data rules.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    validate = commands.add_parser(
        "validate",
        help="say everything that is wrong with a rules document",
        description="Check a rules document, offline, and print a line per fault.",
        epilog="exit codes: 0 valid, 1 faults, 2 unreadable.  example: mqbridge validate config/rules.yaml",
    )
    validate.add_argument("rules", metavar="RULES", help="a .yaml, .json or .toml file")
    validate.add_argument(
        "--format",
        choices=["text", "json", "github"],
        default="text",
        help="text (default), json, or github: annotations of a GitHub workflow",
    )

    dry_run = commands.add_parser(
        "dry-run",
        help="show what would be sent, without any broker",
        description="Plan events by the rules and print the plan, one JSON line per record and rule.",
        epilog="exit codes: 0 planned, 1 something was rejected, 2 unreadable.  "
        "example: mqbridge dry-run outbound --rules config/rules.yaml event.json",
    )
    # A parser per flow, because argparse takes "FLOW --rules RULES EVENT" for a FLOW without events.
    flows = dry_run.add_subparsers(dest="flow", required=True, metavar="FLOW")
    for flow, what in (
        ("inbound", "RocketMQ to MQTT"),
        ("outbound", "MQTT to RocketMQ"),
        ("status", "clients coming and going to RocketMQ"),
        ("outflow", "message outflow tasks, stage by stage"),
    ):
        of_flow = flows.add_parser(flow, help=what, description=f"Plan events by the {flow} rules.")
        of_flow.add_argument("--rules", required=True, metavar="RULES", help="a .yaml, .json or .toml file")
        of_flow.add_argument(
            "events", nargs="*", metavar="EVENT", help="files with one event each; - (default) reads one per line"
        )

    match = commands.add_parser(
        "match",
        help="tell which rules want an event, or whether it matches a pattern",
        description="Tell for each rule of a document, by the code that delivers, whether it wants an event: matched, not matched, "
        "or cannot tell, and why. Or match an event against one event pattern and print true or false.",
        epilog="exit codes: 0 a rule matched, or exactly those expected, or the pattern; 1 not so; 2 invalid rules, pattern or event.  "
        "example: mqbridge match --rules config/rules.yaml --event event.json --expect telemetry",
    )
    matched_with = match.add_mutually_exclusive_group(required=True)
    matched_with.add_argument("--rules", metavar="RULES", help="a .yaml, .json or .toml file")
    matched_with.add_argument("--pattern", metavar="FILE", help="an event pattern, as JSON")
    match.add_argument(
        "--event",
        required=True,
        metavar="FILE",
        help="with --rules whatever dry-run takes, or one message of it; with --pattern the event, as JSON",
    )
    match.add_argument("--explain", action="store_true", help="print what each leaf of a pattern asked and saw")
    match.add_argument(
        "--expect", metavar="NAMES", help="with --rules: the rules that should match, with commas between them"
    )
    match.add_argument(
        "--format", choices=["text", "json"], default="text", help="with --rules: text (default) or json"
    )

    test = commands.add_parser(
        "test",
        help="run the tests that lie beside rules documents",
        description="Run the tests of rules (rules.test.yaml beside rules.yaml) by the code that runs, without any broker.",
        epilog="exit codes: 0 all tests hold, 1 some fail, 2 some could not be run.  example: mqbridge test config/rules.yaml",
    )
    test.add_argument(
        "rules",
        nargs="*",
        metavar="RULES",
        help="rules documents, tests, or folders of them (default: the current folder)",
    )
    test.add_argument("--junit", metavar="FILE", help="also write the results as JUnit XML")
    test.add_argument(
        "--update", action="store_true", help="show what is other than expected, then make it the expectation"
    )

    commands.add_parser(
        "schema",
        help="print the JSON Schema of a rules document",
        description="Print the JSON Schema (draft-07) of a rules document, by which editors complete and check it.",
        epilog="exit code: 0.  example: mqbridge schema > mqbridge.schema.json",
    )

    dlq_arguments.add_parser(commands)

    run = commands.add_parser(
        "run",
        help="feed the handlers from the real brokers until stopped",
        description="Run every enabled rule and task: read from its source, call its handler, acknowledge what was delivered. "
        "A changed rules file is put in force within two seconds, or refused.",
        epilog="SIGTERM or Ctrl-C drains and stops.  example: mqbridge run --rules config/rules.yaml",
    )
    run.add_argument("--rules", required=True, metavar="RULES", help="a .yaml, .json or .toml file")
    run.add_argument(
        "--listen",
        default="127.0.0.1:8686",
        metavar="HOST:PORT",
        help="where /livez, /readyz, /metrics and /tasks are served (default 127.0.0.1:8686; port 0 chooses one)",
    )
    run.add_argument(
        "--share",
        type=_share_name,
        metavar="NAME",
        help="share the load with other runners of the same rules, each under a NAME of its own that it keeps over restarts",
    )
    run.add_argument(
        "--workers",
        type=int,
        choices=range(1, 65),
        default=1,
        metavar="N",
        help="deal the rules out to N processes, 1 to 64, to use as many cores (default 1)",
    )
    run.add_argument(
        "--state-dir",
        metavar="DIR",
        help="where it is kept which tasks are paused or blocked (default $XDG_STATE_HOME/mqbridge or ~/.local/state/mqbridge)",
    )
    invoke_arguments.add_to(run)
    # How the workers are told their part, and what the supervisor has accepted of the rules.
    run.add_argument("--part", type=_part, help=argparse.SUPPRESS)
    run.add_argument("--accepted", help=argparse.SUPPRESS)
    _add_task(commands)
    _add_presence(commands)
    return parser


def _add_presence(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    presence = commands.add_parser(
        "presence",
        help="show who is online, and follow who comes and goes",
        description="Read the topics that status rules send to, say which clients are online, and print a line for each that comes "
        "or goes, until stopped. Nothing is consumed: other readers notice nothing.",
        epilog="exit codes: 0 shown, 2 the rules or a topic cannot be read, 130 stopped by Ctrl-C.  "
        "example: mqbridge presence --rules config/rules.yaml",
    )
    presence.add_argument("--rules", required=True, metavar="RULES", help="a .yaml, .json or .toml file")
    presence.add_argument("--rule", metavar="ID", help="the topic of this status rule only (default: of all)")
    presence.add_argument("--once", action="store_true", help="show who is online and end")
    presence.add_argument(
        "--format", choices=["text", "json"], default="text", help="text (default), or json: one line each"
    )


def _add_task(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    task = commands.add_parser(
        "task",
        help="look at the tasks of a runner, pause and resume them",
        description="Ask a runner what its message outflow tasks do, or have one pause or resume.",
        epilog="exit codes: 0 done, 1 no such task, or refused, 2 no runner there.  example: mqbridge task list",
    )
    verbs = task.add_subparsers(dest="task_command", required=True, metavar="COMMAND")
    for verb, what in (
        ("list", "show all tasks: status, counters, lag"),
        ("show", "show all about one task"),
        ("pause", "have a task finish what it has read and stop; the MQTT broker keeps what comes"),
        ("resume", "have a task run again that was paused, or that stopped at a record"),
    ):
        of_verb = verbs.add_parser(verb, help=what, description=f"{what[0].upper()}{what[1:]}.")
        if verb != "list":
            of_verb.add_argument("name", metavar="NAME", help="the task's EventStreamingName")
        of_verb.add_argument(
            "--runner",
            default="127.0.0.1:8686",
            metavar="HOST:PORT",
            help="where the runner listens (default 127.0.0.1:8686); pause and resume are taken from its own machine only",
        )
        of_verb.add_argument("--format", choices=["text", "json"], default="text", help="text (default) or json")


def _part(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    return int(number), int(of)


def _share_name(text: str) -> str:
    # It becomes part of an MQTT client id.
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", text):
        raise argparse.ArgumentTypeError(f"expected 1 to 32 letters, digits, '-' or '_', got {text!r}")
    return text


if __name__ == "__main__":
    sys.exit(main())
