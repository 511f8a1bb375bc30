"""`python -m devstack.lambda_service invoke FUNCTION EVENT [--rules RULES]`, or `serve [--port PORT]` for boto3 and the AWS CLI."""

import argparse
import signal
import sys
import tempfile
import threading
from pathlib import Path

from config import build_rules
from devstack.errors import DevstackError

from .host_build import ROOT, HostBuild
from .service import LambdaService

# Beside what `sam build` builds for Lambda.
DIRECTORY = ROOT / ".aws-sam" / "host"


def main() -> int:
    """Run one command; return 0, 1 if the function failed, 2 if it could not be run."""
    options = _parser().parse_args()
    build = HostBuild(DIRECTORY)
    environment = dict(each.partition("=")[::2] for each in options.env)
    with tempfile.TemporaryDirectory(prefix="rules-layer-") as folder:
        try:
            rules_layer = None
            if options.rules is not None:
                if exit_code := build_rules.main(options.rules, Path(folder)):
                    return exit_code
                rules_layer = Path(folder)
            names = [options.function] if options.command == "invoke" else list(build.template.functions)
            functions = [build.function(name, environment=environment, rules_layer=rules_layer) for name in names]
            if options.command == "serve":
                return _serve(LambdaService(functions, port=options.port))
            event = sys.stdin.buffer.read() if options.event == "-" else Path(options.event).read_bytes()
            with LambdaService(functions) as service:
                answer = service.invoke(functions[0].name, event)
        except (DevstackError, LookupError, OSError) as error:
            print(f"invoke: {error}", file=sys.stderr)
            return 2
    print(answer.log, end="", file=sys.stderr)
    print(answer.payload.decode("utf-8", "replace"))
    return 1 if answer.is_error else 0


def _serve(service: LambdaService) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: processes and logs are ours to clear away
    with service:
        print(f"stand-in for the Lambda service: {service.url}", flush=True)
        print(f"  aws lambda invoke --endpoint-url {service.url} --function-name Outbound ...", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="devstack.lambda_service", description="A stand-in for the Lambda service.")
    commands = parser.add_subparsers(dest="command", required=True)
    invoke = commands.add_parser(
        "invoke", help="invoke a function once: its log on standard error, its result on standard output"
    )
    invoke.add_argument("function", help="inbound, outbound, outflow or status")
    invoke.add_argument("event", metavar="EVENT", help="a file with the event, or -")
    serve = commands.add_parser("serve", help="serve Lambda's invoke API until stopped")
    serve.add_argument("--port", type=int, default=0, help="any that is free, if not given")
    for command in (invoke, serve):
        command.add_argument("--rules", type=Path, help="instead of config/rules.yaml")
        command.add_argument(
            "--env", action="append", default=[], metavar="NAME=VALUE", help="for the functions' environment"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
