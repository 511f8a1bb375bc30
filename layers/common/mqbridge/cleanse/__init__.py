"""Data cleansing: the operators of a task's Transforms. Pure, but for what Enrich and Function reach through their port."""

from typing import TYPE_CHECKING

from mqbridge.later import later

from .operators import MAX_PARTS, InvalidOperator, Operator, Rejected, Unavailable

if TYPE_CHECKING:
    from .enrich import Enrich
    from .filter import FilterByPattern, FilterByRegex
    from .function import LambdaFunction, PythonFunction
    from .mapping import Map, compile_kept_place
    from .mask import Mask, Places, Replacement, compile_places
    from .outside import LambdaAnswer, Outside, RealOutside
    from .route import Route
    from .split import Split
    from .tables import DynamoDBTable, FileTable, InlineTable, Table

__all__ = [
    "MAX_PARTS",
    "DynamoDBTable",
    "Enrich",
    "FileTable",
    "FilterByPattern",
    "FilterByRegex",
    "InlineTable",
    "InvalidOperator",
    "LambdaAnswer",
    "LambdaFunction",
    "Map",
    "Mask",
    "Operator",
    "Outside",
    "Places",
    "PythonFunction",
    "RealOutside",
    "Rejected",
    "Replacement",
    "Route",
    "Split",
    "Table",
    "Unavailable",
    "compile_kept_place",
    "compile_places",
]

# A task has few operators, or none.
__getattr__ = later(
    __name__,
    {
        "DynamoDBTable": "tables",
        "Enrich": "enrich",
        "FileTable": "tables",
        "FilterByPattern": "filter",
        "FilterByRegex": "filter",
        "InlineTable": "tables",
        "LambdaAnswer": "outside",
        "LambdaFunction": "function",
        "Map": "mapping",
        "Mask": "mask",
        "Outside": "outside",
        "Places": "mask",
        "PythonFunction": "function",
        "RealOutside": "outside",
        "Replacement": "mask",
        "Route": "route",
        "Split": "split",
        "Table": "tables",
        "compile_kept_place": "mapping",
        "compile_places": "mask",
    },
)
