"""The port through which operators reach outside: files, DynamoDB, functions, and the clock that cached answers age by."""

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mqbridge.patience import within
from mqbridge.values import Value

from .operators import Rejected, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient

__all__ = ["LambdaAnswer", "Outside", "RealOutside"]

# Two attempts, each to connect and to read, as for dead letters: the first finds out that a frozen function's connection is dead.
DYNAMODB_TIMEOUT_S = 1.0
DYNAMODB_ATTEMPTS = 2
DYNAMODB_CALL_S = 6.0  # whatever the number of addresses, and boto3's import
# A function may be cold and slow, and it may act: it is asked once, and again only when the record is retried.
LAMBDA_CONNECT_TIMEOUT_S = 1.0
LAMBDA_READ_TIMEOUT_S = 30.0
LAMBDA_CALL_S = LAMBDA_READ_TIMEOUT_S + 2.0
# What AWS says of a request that will never be any better; anything else (throttled, no such table yet, no permission yet) may pass.
_REFUSALS = frozenset(
    {
        "ValidationException",
        "InvalidRequestContentException",
        "RequestTooLargeException",
        "UnsupportedMediaTypeException",
    }
)


class LambdaAnswer(Value):
    """What a Lambda function answered; `is_failure` if it raised, was stopped or ran out of memory: then `payload` says why."""

    payload: bytes
    is_failure: bool = False


class Outside(Protocol):
    """What operators need of the world."""

    def now_s(self) -> float:
        """Return the Unix time."""
        ...

    def read_file(self, path: str) -> bytes:
        """Return a file's content; a relative path starts at the folder of the rules file.

        Raises:
            Unavailable: it cannot be read.
        """
        ...

    def get_item(
        self, table: str, region: str | None, key: Mapping[str, Mapping[str, str]]
    ) -> Mapping[str, Any] | None:
        """Return an item of a DynamoDB table, its values with their types as DynamoDB's API has them, or None.

        Raises:
            Rejected: the table takes no such key.
            Unavailable: it cannot be asked.
        """
        ...

    def function(self, module: str, name: str) -> Callable[[dict[str, Any]], Any]:
        """Return a callable of a module of the package `transforms`.

        Raises:
            Unavailable: it is not there, or its module cannot be imported.
        """
        ...

    def invoke(self, arn: str, payload: bytes) -> LambdaAnswer:
        """Return what a Lambda function answers.

        Raises:
            Rejected: it takes no such payload.
            Unavailable: it cannot be asked.
        """
        ...


class RealOutside:
    """The real world. `folder` is the folder of the rules file, None where the rules came from elsewhere."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def now_s(self) -> float:
        # A frozen function's other clock may stand still.
        return time.time()

    def read_file(self, path: str) -> bytes:
        try:
            return (self._folder or Path()).joinpath(path).read_bytes()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise Unavailable("enrichment_unavailable", f"{path}: cannot be read: {why}") from None

    def get_item(
        self, table: str, region: str | None, key: Mapping[str, Mapping[str, str]]
    ) -> Mapping[str, Any] | None:
        try:
            answer = within(DYNAMODB_CALL_S, lambda: _dynamodb(region).get_item(TableName=table, Key=dict(key)))
        except Exception as error:
            raise _translated(error, "enrichment", f"table {table}") from None
        return answer.get("Item")

    def function(self, module: str, name: str) -> Callable[[dict[str, Any]], Any]:
        import importlib

        try:
            found = getattr(importlib.import_module(module), name)
        except (Exception, SystemExit) as error:  # whatever the module does while it is imported
            raise Unavailable("function_unavailable", f"python:{module}:{name}: {type(error).__name__}") from None
        if not callable(found):
            raise Unavailable(
                "function_unavailable", f"python:{module}:{name}: expected a callable, got another object"
            )
        return found  # type: ignore[no-any-return]  # what it returns is looked at by who calls it

    def invoke(self, arn: str, payload: bytes) -> LambdaAnswer:
        try:
            return within(LAMBDA_CALL_S, partial(_invoke, arn, payload))
        except Exception as error:
            raise _translated(error, "function", arn) from None


def _invoke(arn: str, payload: bytes) -> LambdaAnswer:
    answer = _lambda(arn.split(":")[3]).invoke(FunctionName=arn, InvocationType="RequestResponse", Payload=payload)
    return LambdaAnswer(payload=answer["Payload"].read(), is_failure="FunctionError" in answer)


_clients: dict[tuple[str, str | None], Any] = {}
_lock = threading.Lock()  # boto3 makes clients without one


def _dynamodb(region: str | None) -> "DynamoDBClient":
    import boto3  # here, because it costs a cold start 300 ms, and few tasks look anything up
    from botocore.config import Config

    with _lock:
        if ("dynamodb", region) not in _clients:
            retries: Any = {"total_max_attempts": DYNAMODB_ATTEMPTS, "mode": "standard"}
            config = Config(connect_timeout=DYNAMODB_TIMEOUT_S, read_timeout=DYNAMODB_TIMEOUT_S, retries=retries)
            _clients["dynamodb", region] = boto3.session.Session().client("dynamodb", region_name=region, config=config)
        client: DynamoDBClient = _clients["dynamodb", region]
    return client


def _lambda(region: str) -> "LambdaClient":
    import boto3
    from botocore.config import Config

    with _lock:
        if ("lambda", region) not in _clients:
            retries: Any = {"total_max_attempts": 1, "mode": "standard"}
            config = Config(
                connect_timeout=LAMBDA_CONNECT_TIMEOUT_S, read_timeout=LAMBDA_READ_TIMEOUT_S, retries=retries
            )
            _clients["lambda", region] = boto3.session.Session().client("lambda", region_name=region, config=config)
        client: LambdaClient = _clients["lambda", region]
    return client


def _translated(error: Exception, what: str, place: str) -> Rejected | Unavailable:
    """Return what boto3 raised as one of ours, without AWS's text: of a wrong signature it holds the session token."""
    if isinstance(error, ImportError):
        return Unavailable(f"{what}_unavailable", f"{place}: needs boto3 (extra mqbridge[aws])")
    response = getattr(error, "response", None)  # botocore's ClientError, whose class would have to be imported
    if isinstance(response, Mapping):
        code = str(response.get("Error", {}).get("Code", "an error"))
        if code in _REFUSALS:
            return Rejected(f"{what}_refused", f"{place}: AWS answered {code}")
        return Unavailable(f"{what}_unavailable", f"{place}: AWS answered {code}")
    return Unavailable(f"{what}_unavailable", f"{place}: AWS cannot be asked: {type(error).__name__}")
