"""What Enrich looks keys up in: rows of the rules document, of a file, of a DynamoDB table."""

import base64
import io
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from mqbridge import json_text

from .changes import kind_of, scalar_text
from .operators import Unavailable
from .outside import Outside
from .remembering import Remembered

__all__ = ["DynamoDBTable", "FileTable", "InlineTable", "Table"]

Row = Mapping[str, Any]
# Rows that are remembered of one DynamoDB table, those that are not there among them.
MAX_ROWS = 10_000
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


class Table(Protocol):
    """Rows by key."""

    def row(self, key: str) -> Row | None:
        """Return the row of a key, which must not be changed, or None.

        Raises:
            Rejected: the table takes no such key.
            Unavailable: the table cannot be had now.
        """
        ...


class InlineTable:
    """Rows that stand in the rules document."""

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self._rows = rows

    def row(self, key: str) -> Row | None:
        return self._rows.get(key)


class FileTable:
    """Rows of a CSV or JSON file, read again after so long. While it cannot be read, what was read before counts."""

    def __init__(self, outside: Outside, path: str, key_column: str | None, ttl_s: float) -> None:
        self._path = path
        self._key_column = key_column
        self._read = Remembered[str, Mapping[str, Row]](
            lambda path: self._rows(outside.read_file(path)), outside.now_s, ttl_s, max_entries=1
        )

    def row(self, key: str) -> Row | None:
        rows = self._read.get(self._path)
        return rows.get(key) if rows is not None else None

    def _rows(self, content: bytes) -> Mapping[str, Row]:
        try:
            text = content.decode("utf-8-sig")
            read = _csv_rows if self._path.lower().endswith(".csv") else _json_rows
            return dict(read(text, self._key_column))
        except UnicodeDecodeError:
            problem = "expected UTF-8 text, got other bytes"
        except _UnreadableTable as error:
            problem = str(error)
        raise Unavailable("enrichment_unavailable", f"{self._path}: {problem}")


class DynamoDBTable:
    """Items of a DynamoDB table, each remembered for so long; one that was there counts while the table cannot be asked.

    `key_type` is S or N, as the table has its key. The key is not part of the row.
    """

    def __init__(
        self, outside: Outside, *, table: str, key_name: str, key_type: str, region: str | None, ttl_s: float
    ) -> None:
        def asked(key: str) -> Row | None:
            item = outside.get_item(table, region, {key_name: {key_type: key}})
            if item is None:
                return None
            return {name: json_of_attribute(value) for name, value in item.items() if name != key_name}

        self._is_number = key_type == "N"
        self._items = Remembered[str, Row](asked, outside.now_s, ttl_s, max_entries=MAX_ROWS)

    def row(self, key: str) -> Row | None:
        if self._is_number and not _NUMBER.fullmatch(key):
            return None  # DynamoDB would refuse it
        return self._items.get(key)


class _UnreadableTable(ValueError):
    """What is wrong with a file, without what it holds."""


def _csv_rows(text: str, key_column: str | None) -> Iterator[tuple[str, Row]]:
    """Yield the rows of CSV text by the column, or by the first; all values are text."""
    import csv  # here, because few tasks have such a table

    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, None)
        if not header:
            raise _UnreadableTable("expected a header line, got none")
        key_at = _column(header, key_column)
        for values in reader:
            if values and len(values) != len(header):
                raise _UnreadableTable(
                    f"line {reader.line_num}: expected {len(header)} columns as in the header, got {len(values)}"
                )
            if values:
                yield (
                    values[key_at],
                    {name: value for at, (name, value) in enumerate(zip(header, values, strict=True)) if at != key_at},
                )
    except csv.Error as error:
        raise _UnreadableTable(f"line {reader.line_num}: expected CSV, got other text ({error})") from None


def _column(header: list[str], key_column: str | None) -> int:
    if key_column is None:
        return 0
    if key_column not in header:
        raise _UnreadableTable(f"expected the column {key_column!r} in the header, got none of that name")
    return header.index(key_column)


def _json_rows(text: str, key_column: str | None) -> Iterator[tuple[str, Row]]:
    """Yield the rows of JSON text: of an object of rows by key or, with a column, of an array of rows."""
    try:
        table = json_text.decode(text)
    except json_text.InvalidJson as error:
        raise _UnreadableTable(f"expected JSON, got other text ({error})") from None
    if key_column is None:
        if not isinstance(table, dict):
            raise _UnreadableTable(f"expected an object of rows by key, as there is no KeyColumn, got {kind_of(table)}")
        for key, row in table.items():
            yield key, _row(row, repr(key))
        return
    if not isinstance(table, list):
        raise _UnreadableTable(f"expected an array of rows, as there is KeyColumn, got {kind_of(table)}")
    for at, each in enumerate(table):
        row = _row(each, f"row {at}")
        column = scalar_text(row.get(key_column))
        if column is None:
            raise _UnreadableTable(f"row {at}: expected text or a number as {key_column!r}, got something else")
        yield column, {name: value for name, value in row.items() if name != key_column}


def _row(row: Any, place: str) -> Row:
    if not isinstance(row, dict):
        raise _UnreadableTable(f"{place}: expected a row, which is an object, got {kind_of(row)}")
    return row


def json_of_attribute(value: Mapping[str, Any]) -> Any:
    """Return a value of DynamoDB's API as JSON: sets as arrays in order, binary as Base64, numbers as whole ones where they are."""
    ((kind, inner),) = value.items()
    return _ATTRIBUTES[kind](inner)


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


_ATTRIBUTES: dict[str, Callable[[Any], Any]] = {
    "S": str,
    "N": _number,
    "BOOL": bool,
    "NULL": lambda _: None,
    "B": _base64,
    "M": lambda members: {name: json_of_attribute(each) for name, each in members.items()},
    "L": lambda items: [json_of_attribute(each) for each in items],
    "SS": sorted,
    "NS": lambda numbers: sorted(map(_number, numbers)),
    "BS": lambda contents: sorted(map(_base64, contents)),
}
