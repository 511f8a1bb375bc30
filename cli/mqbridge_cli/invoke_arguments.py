"""The options of `mqbridge run` for handlers that run elsewhere."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mqbridge_cli.runner.lambda_functions import InvokeSettings

__all__ = ["add_to", "fault_of", "settings_of"]

FLOWS = ("inbound", "outbound", "outflow", "status")
# Lambda's own limit is 900 s; a cold start and the way there take longer.
LONGEST_TIMEOUT_S = 1_000.0


def add_to(run: argparse.ArgumentParser) -> None:
    """Add the options to the command's."""
    run.add_argument(
        "--invoke",
        choices=["lambda"],
        help="give batches to deployed functions by Lambda's API instead of carrying them out here; the functions have their own rules",
    )
    run.add_argument(
        "--endpoint-url",
        type=_url,
        metavar="URL",
        help="with --invoke: Lambda's API, as SAM or a stand-in serves it (default AWS)",
    )
    run.add_argument(
        "--function-name",
        action="append",
        type=_name,
        default=[],
        metavar="FLOW=NAME",
        help="with --invoke: name or ARN of the function for inbound, outbound, outflow or status "
        "(default Inbound, Outbound, Outflow, Status)",
    )
    run.add_argument(
        "--invoke-timeout",
        type=_seconds,
        metavar="SECONDS",
        help="with --invoke: how long an answer may take, which is more than the function's own timeout (default 60)",
    )


def fault_of(options: argparse.Namespace) -> str:
    """Return what is wrong with the options together, "" if nothing is."""
    if options.invoke is None and (options.endpoint_url or options.function_name or options.invoke_timeout):
        return "--endpoint-url, --function-name and --invoke-timeout go with --invoke only"
    return ""


def settings_of(options: argparse.Namespace) -> "InvokeSettings | None":
    """Return what the options say, None if nothing runs elsewhere."""
    from mqbridge_cli.runner.lambda_functions import DEFAULT_NAMES, DEFAULT_TIMEOUT_S, InvokeSettings

    if options.invoke is None:
        return None
    return InvokeSettings(
        endpoint_url=options.endpoint_url,
        names={**DEFAULT_NAMES, **dict(options.function_name)},
        timeout_s=options.invoke_timeout or DEFAULT_TIMEOUT_S,
    )


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"expected http://... or https://..., got {text!r}")
    return text


def _name(text: str) -> tuple[str, str]:
    flow, _, name = text.partition("=")
    if flow not in FLOWS or not name:
        raise argparse.ArgumentTypeError(f"expected FLOW=NAME with a flow of {', '.join(FLOWS)}, got {text!r}")
    return flow, name


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= LONGEST_TIMEOUT_S:
        raise argparse.ArgumentTypeError(f"expected 1 to {LONGEST_TIMEOUT_S:.0f} seconds, got {text!r}")
    return seconds
