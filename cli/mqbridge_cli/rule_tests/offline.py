"""The world as tests of rules see it: files and functions of the deployment, and no network."""

from collections.abc import Mapping
from typing import Any

from mqbridge.cleanse import LambdaAnswer, RealOutside, Unavailable

__all__ = ["OfflineOutside"]


class OfflineOutside(RealOutside):
    """Files and Python functions are real; AWS is not asked, since a test must neither need nor change anything there."""

    def get_item(
        self, table: str, region: str | None, key: Mapping[str, Mapping[str, str]]
    ) -> Mapping[str, Any] | None:
        """Say that a test asks no table."""
        del region, key
        raise Unavailable("enrichment_unavailable", f"table {table}: tests of rules reach no network")

    def invoke(self, arn: str, payload: bytes) -> LambdaAnswer:
        """Say that a test calls no Lambda function."""
        del payload
        raise Unavailable("function_unavailable", f"{arn}: tests of rules reach no network")
