"""Functions behind Lambda's invoke API: AWS's, SAM's (`sam local start-lambda`), or a stand-in's."""

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from mqbridge.telemetry import Counters
from mqbridge_cli.runner.function_handler import FunctionHandler, NoAnswer, TooLarge, Unanswered, Unavailable
from mqbridge_cli.runner.rules_file import CannotRun

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

__all__ = ["DEFAULT_NAMES", "Functions", "InvokeSettings", "LambdaFunction", "LambdaFunctions"]

# As template.yaml names them, and so sam local and the stand-in. CloudFormation makes longer names of these.
DEFAULT_NAMES: Mapping[str, str] = {
    "inbound": "Inbound",
    "outbound": "Outbound",
    "outflow": "Outflow",
    "status": "Status",
}
# Above the timeout of template.yaml's functions, with a cold start and the way there.
DEFAULT_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 5.0
MAX_DETAIL_LENGTH = 300


class Functions(Protocol):
    """Where rules are carried out, if not in this process."""

    def handler(self, flow: str, rule: str, counters: Counters) -> FunctionHandler:
        """Return what a rule's worker calls with batches."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeSettings:
    """What the command line says of functions.

    Args:
        endpoint_url: of Lambda's API; None for AWS itself.
        names: a function's name or ARN for each flow.
        timeout_s: how long an answer may take; more than the functions' own timeout.
    """

    endpoint_url: str | None = None
    names: Mapping[str, str] = field(default_factory=lambda: DEFAULT_NAMES)
    timeout_s: float = DEFAULT_TIMEOUT_S

    def arguments(self) -> list[str]:
        """Return the options that say the same."""
        endpoint = ["--endpoint-url", self.endpoint_url] if self.endpoint_url else []
        names = [argument for pair in self.names.items() for argument in ("--function-name", "=".join(pair))]
        return ["--invoke", "lambda", *endpoint, *names, "--invoke-timeout", str(self.timeout_s)]


class LambdaFunctions:
    """The functions of one account and region.

    Raises:
        CannotRun: boto3 is not installed, or AWS's settings lack a region or keys.
    """

    def __init__(self, settings: InvokeSettings) -> None:
        try:
            import boto3  # here, because a runner without functions does without
        except ImportError:
            raise CannotRun("--invoke lambda needs boto3 (extra mqbridge[aws])") from None
        self._settings = settings
        # boto3 by itself looks at AWS_DEFAULT_REGION and the profile; AWS's other tools look at this first.
        self._session = boto3.session.Session(region_name=os.environ.get("AWS_REGION"))
        self._lock = threading.Lock()  # sessions make clients without one
        if self._session.region_name is None:
            raise CannotRun("--invoke lambda needs AWS_REGION, or a profile's region")
        if self._session.get_credentials() is None:
            raise CannotRun(
                "--invoke lambda needs AWS credentials; for a stand-in any AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )

    def handler(self, flow: str, rule: str, counters: Counters) -> FunctionHandler:
        """Return what a rule's worker calls with batches; it makes itself a client in the worker's thread."""
        client: LambdaClient | None = None

        def invoke(request: bytes) -> bytes:
            nonlocal client
            if client is None:
                client = self._client()
            return LambdaFunction(client, self._settings.names[flow])(request)

        return FunctionHandler(flow, rule, invoke, counters)

    def _client(self) -> "LambdaClient":
        from botocore.config import Config

        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=self._settings.timeout_s,
            retries={"total_max_attempts": 1},  # who calls knows better when, and counts
            max_pool_connections=1,
            tcp_keepalive=True,
        )
        with self._lock:
            client: LambdaClient = self._session.client(
                "lambda", endpoint_url=self._settings.endpoint_url, config=config
            )
        return client


class LambdaFunction:
    """One function, as what makes a request of it; `client` is boto3's, or does as it does."""

    def __init__(self, client: "LambdaClient", name: str) -> None:
        self._client = client
        self._name = name

    def __call__(self, request: bytes) -> bytes:
        """Invoke the function and wait for its answer.

        Raises:
            Unanswered: there is none.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.invoke(FunctionName=self._name, InvocationType="RequestResponse", Payload=request)
            payload = answer["Payload"].read()
        except ClientError as error:
            raise self._refused(error.response) from error
        except BotoCoreError as error:
            raise self._lost(error) from error
        if "FunctionError" in answer:
            raise Unanswered("function_error", f"{self._name}: {_told(payload)}")
        return payload

    def _refused(self, response: Mapping[str, Any]) -> Unanswered:
        code = str(response.get("Error", {}).get("Code", ""))
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        # Without AWS's text: of a wrong signature it holds the session token.
        detail = f"{self._name}: {status} {code}"
        if status == 413 or code == "RequestTooLargeException":
            return TooLarge("too_large", detail)
        if status == 429:
            return Unavailable("throttled", detail)
        return Unavailable("service_error" if status >= 500 else "refused", detail)

    def _lost(self, error: Exception) -> Unanswered:
        from botocore import exceptions

        detail = f"{self._name}: {type(error).__name__}"
        if isinstance(error, exceptions.ReadTimeoutError):
            return NoAnswer("no_answer", f"{detail}: expected an answer within --invoke-timeout")
        broken = (exceptions.ConnectionClosedError, exceptions.ResponseStreamingError, exceptions.IncompleteReadError)
        if isinstance(error, broken):
            return NoAnswer("no_answer", detail)
        is_away = isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError)
        return Unavailable("unreachable" if is_away else "refused", detail)


def _told(payload: bytes) -> str:
    """Return type and message of what a function raised."""
    try:
        raised = json.loads(payload)
        text = f"{raised['errorType']}: {raised['errorMessage']}"
    except (ValueError, TypeError, KeyError):
        text = "an error that does not say what it is"
    return text[:MAX_DETAIL_LENGTH]
