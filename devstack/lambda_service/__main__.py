"""`python -m devstack.lambda_service invoke FUNCTION EVENT [--rules RULES]`, or `serve [--port PORT]` for boto3 and the AWS CLI.

`serve --sqs URL` also makes the template's queues there, at moto's server for one, and invokes the functions for what is sent to them.
"""

import argparse
import signal
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from config import build_rules
from devstack.errors import DevstackError

from .event_source import EventSourceMapping
from .functions import REGION
from .host_build import ROOT, HostBuild
from .queues import make_queues
from .service import LambdaService
from .template import Template

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# Beside what `sam build` builds for Lambda.
DIRECTORY = ROOT / ".aws-sam" / "host"


def main() -> int:
    """Run one command; return 0, 1 if the function failed, 2 if it could not be run."""
    options = _parser().parse_args()
    build = HostBuild(DIRECTORY)
    environment = dict(each.partition("=")[::2] for each in options.env)
    sqs_url = getattr(options, "sqs", None)
    if sqs_url is not None:
        environment.setdefault("AWS_ENDPOINT_URL", sqs_url)
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
                return _serve(LambdaService(functions, port=options.port), build.template, sqs_url)
            event = sys.stdin.buffer.read() if options.event == "-" else Path(options.event).read_bytes()
            with LambdaService(functions) as service:
                answer = service.invoke(functions[0].name, event)
        except (DevstackError, LookupError, OSError) as error:
            print(f"invoke: {error}", file=sys.stderr)
            return 2
    print(answer.log, end="", file=sys.stderr)
    print(answer.payload.decode("utf-8", "replace"))
    return 1 if answer.is_error else 0


def _serve(service: LambdaService, template: Template, sqs_url: str | None) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: processes and logs are ours to clear away
    with service, ExitStack() as mappings:
        print(f"stand-in for the Lambda service: {service.url}", flush=True)
        print(f"  aws lambda invoke --endpoint-url {service.url} --function-name Outbound ...", flush=True)
        try:
            if sqs_url is not None:
                _map_queues(service, template, sqs_url, mappings)
            threading.Event().wait()
        except KeyboardInterrupt:
            return 130
    return 0


def _map_queues(service: LambdaService, template: Template, sqs_url: str, mappings: ExitStack) -> None:
    sqs = _sqs_client(sqs_url)
    queues = make_queues(sqs, template)
    for function in template.functions.values():
        for source in function.sources:
            queue = queues[source.queue]
            mappings.enter_context(EventSourceMapping(service, function.name, sqs, queue.url, source))
            print(f"  {queue.url} -> {function.name}", flush=True)


def _sqs_client(url: str) -> "SQSClient":
    import boto3  # here, because the other commands do without

    # Whatever stands in for SQS asks for some keys, and for none in particular: the functions have the same.
    client: SQSClient = boto3.session.Session().client(
        "sqs",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="stand-in",
        aws_secret_access_key="stand-in",  # noqa: S106 - no secret
    )
    return client


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
    serve.add_argument(
        "--sqs",
        metavar="URL",
        help="make the template's queues there, and invoke the functions for them as event sources do",
    )
    for command in (invoke, serve):
        command.add_argument("--rules", type=Path, help="instead of config/rules.yaml")
        command.add_argument(
            "--env", action="append", default=[], metavar="NAME=VALUE", help="for the functions' environment"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
