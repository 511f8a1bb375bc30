"""Rules in the Parameter Store: in one parameter, or in parts, since a parameter holds 4 KB, an advanced one 8 KB."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from .aws import cannot_ask, client_of
from .places import Parameter
from .reading import CannotRead

__all__ = ["fetch_of_parameter", "in_parts"]

# Of 8 KB each that is more than any other source takes.
MAX_PARTS = 512


def fetch_of_parameter(place: Parameter) -> Callable[[], bytes | None]:
    """Return what fetches the document.

    Raises:
        CannotRead: there is no client for it.
    """
    client = client_of("ssm")
    return partial(in_parts if place.is_in_parts else _whole, client, place.name)


def _whole(client: Any, name: str) -> bytes:
    from aws_lambda_powertools.utilities.parameters import GetParameterError, SSMProvider  # here: it brings boto3

    try:
        value = SSMProvider(boto3_client=client).get(name, decrypt=True, force_fetch=True)
    except GetParameterError as error:
        raise cannot_ask(error.__context__ or error) from None  # Powertools has the text alone of what boto3 raised
    return str(value).encode()


def in_parts(client: Any, path: str) -> bytes:
    """Join the parameters directly below `path`, in the order of their names.

    AWS has no transaction over several parameters: who changes them one by one may be read half-way. Such a mixture is hardly ever
    JSON, and then refused; docs/configuration.md says how to be sure.

    Raises:
        CannotRead: there are none, or too many, or AWS does not give them all.
    """
    parts: dict[str, str] = {}
    more: dict[str, str] = {}
    try:
        while True:
            answer = client.get_parameters_by_path(Path=path, WithDecryption=True, **more)
            parts |= {each["Name"]: each["Value"] for each in answer["Parameters"]}
            if not answer.get("NextToken") or len(parts) > MAX_PARTS:
                break
            more = {"NextToken": answer["NextToken"]}
    except Exception as error:
        raise cannot_ask(error) from None
    if not parts:
        raise CannotRead("there are no parameters directly below this path")
    if len(parts) > MAX_PARTS:
        raise CannotRead(f"expected at most {MAX_PARTS} parts, got more")
    return "".join(parts[name] for name in sorted(parts, key=_natural)).encode()


def _natural(name: str) -> list[str | int]:
    """Return what sorts part-10 behind part-9: texts and numbers in turn, the first a text."""
    return [int(piece) if at % 2 else piece for at, piece in enumerate(re.split(r"([0-9]+)", name))]
