"""What `mqbridge dlq` takes on the command line. Loaded with every command, so it imports next to nothing."""

import argparse
import re
import time
from datetime import UTC, datetime

__all__ = ["add_parser"]

MAX_LETTERS = 10_000
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `dlq` and its verbs to the commands."""
    dlq = commands.add_parser(
        "dlq",
        help="list, show and redrive dead letters",
        description="Dead letters: what could not be delivered, why, and sending it on its way again.",
        epilog="example: mqbridge dlq list --rules config/rules.yaml",
    )
    verbs = dlq.add_subparsers(dest="verb", required=True, metavar="VERB")

    listing = verbs.add_parser(
        "list",
        help="count dead letters by rule, stage and reason",
        description="Read the dead-letter queues that the rules name, and count what lies there. Nothing is removed.",
        epilog="exit codes: 0 read, 2 a queue could not be read.  "
        "example: mqbridge dlq list --rules config/rules.yaml --since 1d",
    )
    _add_common(listing)
    _add_format(listing, "one JSON document")

    show = verbs.add_parser(
        "show",
        help="show dead letters whole",
        description="Print dead letters as JSON documents: why each is there, and the event as it was received.",
        epilog="exit codes: 0 shown, 1 there is none, 2 a queue could not be read.  "
        "example: mqbridge dlq show --rules config/rules.yaml --id 7F00000100002A9F3C8E1B2D4A5F0001",
    )
    _add_common(show)

    redrive = verbs.add_parser(
        "redrive",
        help="send dead letters on their way again",
        description="Plan dead letters anew by their rules and print what would be sent; with --apply, send it. "
        "A letter is removed once its event is delivered; what fails again goes back with redriveCount one higher.",
        epilog="exit codes: 0 all delivered (or would be sent), 1 some not, 2 could not run.  "
        "example: mqbridge dlq redrive --rules config/rules.yaml --reason broker_busy --rate 10/s --apply",
    )
    _add_common(redrive)
    redrive.add_argument("--apply", action="store_true", help="send; without it nothing is sent or removed")
    redrive.add_argument("--rate", type=_rate, metavar="N/s", help="send at most N letters a second")
    redrive.add_argument(
        "--force", action="store_true", help="send again also what failed for good after an earlier redrive"
    )
    _add_format(redrive, "a JSON line for each letter and one for the summary")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rules", required=True, metavar="RULES", help="a .yaml, .json or .toml file")
    parser.add_argument("--queue", metavar="ARN", help="this queue alone; it need not be one that the rules name")
    parser.add_argument("--rule", action="append", default=[], metavar="NAME", help="letters of this rule or task")
    parser.add_argument("--stage", action="append", default=[], metavar="STAGE", help="letters of this stage")
    parser.add_argument("--reason", action="append", default=[], metavar="REASON", help="letters with this reason")
    parser.add_argument("--id", action="append", default=[], metavar="ID", help="the letter with this id")
    since = "an RFC 3339 time, or how long ago: 90s, 30m, 12h, 7d"
    parser.add_argument("--since", type=_moment, metavar="TIME", help=f"what failed then or later: {since}")
    parser.add_argument("--until", type=_moment, metavar="TIME", help="what failed before then")
    parser.add_argument(
        "--max",
        type=_positive,
        default=MAX_LETTERS,
        metavar="N",
        help=f"take at most N letters (default {MAX_LETTERS})",
    )
    parser.add_argument(
        "--state",
        metavar="FILE",
        help="which letters in RocketMQ topics were redriven, since those cannot be removed "
        "(default mqbridge/redriven.jsonl in $XDG_STATE_HOME or ~/.local/state)",
    )


def _add_format(parser: argparse.ArgumentParser, json_is: str) -> None:
    parser.add_argument("--format", choices=["text", "json"], default="text", help=f"text (default), or {json_is}")


def _moment(text: str) -> float:
    """Return Unix time in seconds."""
    ago = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if ago is not None:
        return time.time() - int(ago[1]) * _UNITS_S[ago[2]]
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        expected = "expected a time such as 2026-01-01T00:00:00Z, or how long ago, such as 12h"
        raise argparse.ArgumentTypeError(f"{expected}, got {text!r}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _rate(text: str) -> float:
    number = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)(/s)?", text)
    if number is None or not float(number[1]):
        raise argparse.ArgumentTypeError(f"expected letters a second, such as 10/s, got {text!r}")
    return float(number[1])


def _positive(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)
