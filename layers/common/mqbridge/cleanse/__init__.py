"""Data cleansing: the operators of a task's Transforms. Pure, but for what Enrich and Function reach through their port."""

from .operators import InvalidOperator, Operator, Rejected, Unavailable
from .outside import LambdaAnswer, Outside, RealOutside

__all__ = [
    "InvalidOperator",
    "LambdaAnswer",
    "Operator",
    "Outside",
    "RealOutside",
    "Rejected",
    "Unavailable",
]
