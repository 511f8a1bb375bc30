"""What the sources in AWS have in common: clients whose patience ends, and what went wrong in words that show no secret."""

from collections.abc import Mapping
from typing import Any

from .reading import MAX_DOCUMENT_BYTES, CannotRead

__all__ = ["cannot_ask", "client_of", "content_of", "error_code"]

# Two attempts, the second because the first finds out that a frozen function's connection is dead; each to connect and to read.
TIMEOUT_S = 2.0
ATTEMPTS = 2


def client_of(service: str) -> Any:
    """Return a new client of a service, at AWS_ENDPOINT_URL where that is set.

    Raises:
        CannotRead: boto3 is not installed, or knows no region.
    """
    try:
        import boto3  # here, because it costs a cold start 300 ms, and most functions read a file
        from botocore.config import Config

        retries: Any = {"total_max_attempts": ATTEMPTS, "mode": "standard"}
        config = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries=retries)
        session: Any = boto3.session.Session()
        return session.client(service, config=config)
    except Exception as error:  # a profile that is not there, an endpoint that is none
        raise cannot_ask(error) from None


def content_of(answer: Mapping[str, Any], member: str) -> bytes:
    """Return an answer's body, at most a byte more than a document may have.

    Raises:
        CannotRead: it broke off. (botocore does not say so where only a part is read.) It must not pass for the document: both S3 and
            AppConfig are asked next time for what has changed since.
    """
    with answer[member] as body:
        content: bytes = body.read(MAX_DOCUMENT_BYTES + 1)
    announced = int(answer["ResponseMetadata"]["HTTPHeaders"].get("content-length", 0))
    if len(content) < min(announced, MAX_DOCUMENT_BYTES + 1):
        raise CannotRead("the answer broke off")
    return content


def error_code(error: BaseException) -> str:
    """Return AWS's word for what it refused, empty if it is no answer of AWS."""
    response = getattr(error, "response", None)  # botocore's ClientError, whose class would have to be imported
    return str(response.get("Error", {}).get("Code", "an error")) if isinstance(response, Mapping) else ""


def cannot_ask(error: BaseException) -> CannotRead:
    """Translate what boto3 raised, without AWS's text: of a wrong signature it holds the session token."""
    if isinstance(error, CannotRead):
        return error
    if isinstance(error, ImportError):
        return CannotRead("needs boto3 (extra mqbridge[aws])")
    code = error_code(error)
    return CannotRead(f"AWS answered {code}" if code else f"AWS cannot be asked: {type(error).__name__}")
