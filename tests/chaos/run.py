"""make chaos: every fault under load in both directions, and what it did to the messages.

Exit code 0 if nothing was lost, all duplicates kept their ids, and messages flowed again in time.
"""

import argparse
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from devstack.errors import DevstackError
from tests.chaos.cells import CELLS
from tests.chaos.stack import stack
from tests.chaos.trial import Direction, Pace, Verdict, try_cell

__all__ = ["main"]

RESULTS = Path(__file__).parents[2] / "benchmarks" / "RELIABILITY.md"
FLOWING_AGAIN_S = 5.0

_HEAD = (
    "| fault | acknowledged, out / in | lost | duplicates | ids kept | first flow | caught up |\n"
    "|---|---|---|---|---|---|---|"
)
_EXPLANATION = """\
Real mosquitto, real RocketMQ 4.9.7, `mqbridge run`; load in both directions the whole time, and one fault in the middle of it.

- acknowledged: what mosquitto acknowledged to ten publishers at QoS 1; what RocketMQ stored of a back end's commands.
- lost: what of that RocketMQ's Java client did not find in the topic, and an MQTT subscriber with a persistent session did not receive.
- duplicates: arrivals beyond the first. Outbound they include what the publishers themselves sent again after losing their connection.
- ids kept: every copy of a message has the `UNIQ_KEY` that the publisher gave it (`MessageIdFrom`).
- first flow, caught up: seconds from the end of the fault to the first message, and to the last one that took longer than 1 s.
  The fault ends when the server is ready again, and, for a runner, when its process is started.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cells and return the exit code."""
    options = _parser().parse_args(arguments)
    pace = Pace(rate=options.rate, before_s=2.0, after_s=4.0) if options.short else Pace(rate=options.rate)
    verdicts: list[Verdict] = []
    for cell in CELLS:
        if options.cell and cell.name not in options.cell:
            continue
        directory = Path(tempfile.mkdtemp(prefix="mqbridge-chaos-"))
        try:
            amount = cell.short_amount if options.short else cell.amount
            with stack(directory, runners=cell.runners, is_proxied=cell.is_proxied) as running:
                verdict = try_cell(cell, running, amount=amount, pace=pace)
        except DevstackError as error:
            print(f"{cell.name} could not run: {error}", file=sys.stderr)
            return 2
        finally:
            if options.keep:
                print(f"{cell.name}: logs in {directory}", file=sys.stderr)
            else:
                shutil.rmtree(directory, ignore_errors=True)
        if not verdicts:
            print(_HEAD)
        verdicts.append(verdict)
        print(_row(verdict), flush=True)
    if len(verdicts) == len(CELLS) and not options.short:
        RESULTS.write_text(_report(verdicts, options.rate))
    return 0 if all(map(_is_fine, verdicts)) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__)
    names = [cell.name for cell in CELLS]
    parser.add_argument("--cell", nargs="+", choices=names, metavar="NAME", help=f"only these of {', '.join(names)}")
    parser.add_argument("--rate", type=float, default=300.0, help="messages per second in each direction")
    parser.add_argument("--short", action="store_true", help="short faults, to try the thing out")
    parser.add_argument("--keep", action="store_true", help="keep the servers' and runners' logs")
    parser.epilog = f"All cells at full length write {RESULTS.name}."
    return parser


def _is_fine(verdict: Verdict) -> bool:
    return verdict.duplicates_keep_their_id and all(
        each.lost == 0 and each.first_flow_s is not None and each.first_flow_s <= FLOWING_AGAIN_S
        for each in (verdict.out, verdict.into)
    )


def _row(verdict: Verdict) -> str:
    both = verdict.out, verdict.into
    columns = (
        verdict.cell.what.format(amount=verdict.amount),
        _pair(f"{each.acknowledged:,}" for each in both),
        _pair(str(each.lost) for each in both),
        _pair(str(each.duplicates) for each in both),
        "yes" if verdict.duplicates_keep_their_id else "NO",
        _pair(map(_first_flow, both)),
        _pair(f"{each.caught_up_s:.1f} s" for each in both),
    )
    return f"| {' | '.join(columns)} |"


def _pair(texts: Iterable[str]) -> str:
    return " / ".join(texts)


def _first_flow(direction: Direction) -> str:
    return "never" if direction.first_flow_s is None else f"{direction.first_flow_s:.1f} s"


def _report(verdicts: Sequence[Verdict], rate: float) -> str:
    rows = "\n".join(map(_row, verdicts))
    machine = f"{os.cpu_count()} cores {platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    return (
        "# Reliability\n\n"
        f"`make chaos` wrote this: {datetime.now(UTC).date()}, {machine}, {rate:g} messages/s in each direction.\n\n"
        f"{_EXPLANATION}\n{_HEAD}\n{rows}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
