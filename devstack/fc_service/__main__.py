"""`python -m devstack.fc_service invoke FUNCTION EVENT [--rules RULES] [--custom]`: invoke a built function as Function Compute would."""

import argparse
import sys
import tempfile
from pathlib import Path

from config import build_rules
from devstack.errors import DevstackError

from .declared import read_services
from .host_build import ROOT, HostBuild
from .service import FcService

DIRECTORY = ROOT / ".fc" / "host"


def main() -> int:
    """Run the command; return 0, 1 if the function failed, 2 if it could not be run."""
    options = _parser().parse_args()
    environment = dict(each.partition("=")[::2] for each in options.env)
    functions = read_services(ROOT / ("s.custom.yaml" if options.custom else "s.yaml"), environment)
    with tempfile.TemporaryDirectory(prefix="rules-") as folder:
        try:
            if options.rules is not None:
                if exit_code := build_rules.main(options.rules, Path(folder)):
                    return exit_code
                environment["MQBRIDGE_RULES"] = str(Path(folder) / "rules.json")
            event = sys.stdin.buffer.read() if options.event == "-" else Path(options.event).read_bytes()
            with FcService(functions, HostBuild(DIRECTORY).code(), environment=environment) as service:
                answer = service.invoke(options.function, event)
                log = service.log(options.function)
        except (DevstackError, LookupError, OSError) as error:
            print(f"invoke: {error}", file=sys.stderr)
            return 2
    print(log, end="", file=sys.stderr)
    print(answer.body.decode("utf-8", "replace"))
    return 1 if answer.is_error else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="devstack.fc_service", description="A stand-in for Function Compute.")
    commands = parser.add_subparsers(dest="command", required=True)
    invoke = commands.add_parser("invoke", help="its log on standard error, its result on standard output")
    invoke.add_argument("function", help="inbound, outbound, outflow or status")
    invoke.add_argument("event", metavar="EVENT", help="a file with the event, or -")
    invoke.add_argument("--rules", type=Path, help="instead of config/rules.yaml")
    invoke.add_argument("--custom", action="store_true", help="in the custom runtime, as s.custom.yaml says")
    invoke.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="for the function's environment"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
