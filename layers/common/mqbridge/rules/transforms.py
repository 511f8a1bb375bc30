"""The operators of a task's Transforms, compiled. Imported only for a document that has a task."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from mqbridge import cleanse, patterns, regexes
from mqbridge.cleanse import InvalidOperator, Operator, Outside
from mqbridge.extract import Form, InvalidForm, InvalidPath, PlacePath, compile_form, compile_path, compile_place
from mqbridge.extract import Path as JsonPath

from .faults import Path
from .forms import SinkField
from .kinds import INVALID, chosen, settings_of, shown
from .operators import DynamoDBRows, Enrich, FileRows, Filter, Function, Map, Mask, Route, Split, Transform

__all__ = ["compile_transforms"]

Report = Callable[[Path, str, str], None]  # path within Transforms, expected, got
Compiled = TypeVar("Compiled")

_BODY = "$.data.body"
_EVENT = "$"


def compile_transforms(declared: Sequence[Transform], outside: Outside, report: Report) -> tuple[Operator, ...]:
    """Return the operators, ready to run, but for those that cannot be: all that is wrong with them is reported."""
    operators = [_Compiler(outside, report, at).operator(transform) for at, transform in enumerate(declared)]
    return tuple(each for each in operators if each is not None)


class _Compiler:
    """Compiles one operator. What cannot be compiled is reported, and INVALID takes its place, so that everything is looked at."""

    def __init__(self, outside: Outside, report: Report, at: int) -> None:
        self._outside = outside
        self._report = report
        self._at = at
        self._key = ""
        self._has_faults = False

    def operator(self, transform: Transform) -> Operator | None:
        """Return the operator, or None after reporting what is wrong with it."""
        for name, setting in settings_of(Transform).items():
            if getattr(transform, name) is not None:
                self._key = setting.key
        match chosen(transform):
            case Split() as declared:
                return self._split(declared)
            case Map() as declared:
                return self._map(declared)
            case Mask() as declared:
                return self._mask(declared)
            case Filter() as declared:
                return self._filter(declared)
            case Enrich() as declared:
                return self._enrich(declared)
            case Route() as declared:
                return self._route(declared)
            case Function() as declared:
                return self._function(declared.arn)
            case str() as arn:
                return self._function(arn)
            case _:  # its key is not known, which was reported when it was read
                return None

    def _split(self, declared: Split) -> Operator | None:
        path = self._place(("Path",), declared.path)
        regex = self._regex(("Regex",), declared.regex) if declared.regex is not None else None
        return self._made(
            lambda: cleanse.Split(
                path=path,
                separator=declared.separator,
                regex=regex,
                trims=declared.trims,
                drops_empty=declared.drops_empty,
            )
        )

    def _map(self, declared: Map) -> Operator | None:
        keep = tuple(
            self._path(("Keep", at), each, cleanse.compile_kept_place) for at, each in enumerate(declared.keep)
        )
        drop = tuple(self._place(("Drop", at), each) for at, each in enumerate(declared.drop))
        rename = tuple(
            (self._place(("Rename", source), source), self._place(("Rename", source), target))
            for source, target in (declared.rename or {}).items()
        )
        forms = tuple(
            (self._place(("Set", place), place), self._form(("Set", place), form))
            for place, form in (declared.set or {}).items()
        )
        return self._made(lambda: cleanse.Map(keep=keep, drop=drop, rename=rename, set=forms))

    def _mask(self, declared: Mask) -> Operator | None:
        places = self._path(("Path",), declared.path, cleanse.compile_places)
        regex = self._regex(("Regex",), declared.regex)
        replacement = self._checked(lambda: cleanse.Replacement(declared.replacement))
        return self._made(
            lambda: cleanse.Mask(
                places=places,
                regex=regex,
                replacement=replacement,
                separator=declared.separator,
                field_at=declared.field_at,
            )
        )

    def _filter(self, declared: Filter) -> Operator | None:
        if (declared.regex is None) == (declared.pattern is None):
            self._fault((), "Regex or Pattern", "none" if declared.regex is None else "both")
        if declared.regex is not None:
            regex = self._regex(("Regex",), declared.regex)
            text = self._path(("Path",), declared.path or _BODY, compile_path)
            return self._made(lambda: cleanse.FilterByRegex(path=text, regex=regex))
        path = self._path(("Path",), declared.path or _EVENT, compile_path)
        pattern = self._pattern(declared)
        return self._made(lambda: cleanse.FilterByPattern(path=path, pattern=pattern))

    def _enrich(self, declared: Enrich) -> Operator | None:
        key: JsonPath = self._path(("Key",), declared.key, compile_path)
        into = self._place(("Into",), declared.into)
        table = self._table(declared)
        return self._made(lambda: cleanse.Enrich(key=key, table=table, into=into, on_missing=declared.on_missing))

    def _table(self, declared: Enrich) -> cleanse.Table:
        match chosen(declared.source):
            case FileRows() as file:
                return cleanse.FileTable(self._outside, file.path, file.key_column, declared.ttl_s)
            case DynamoDBRows() as rows:
                return cleanse.DynamoDBTable(
                    self._outside,
                    table=rows.table,
                    key_name=rows.key_name,
                    key_type=rows.key_type,
                    region=rows.region,
                    ttl_s=declared.ttl_s,
                )
            case inline:
                return cleanse.InlineTable(inline or {})

    def _route(self, declared: Route) -> Operator | None:
        path: JsonPath = self._path(("Path",), declared.path, compile_path)
        rules = tuple(
            (self._regex(("rules", at, "regex"), rule.regex), rule.target_topics)
            for at, rule in enumerate(declared.rules)
        )
        return self._made(lambda: cleanse.Route(path=path, default_topic=declared.default_topic, rules=rules))

    def _function(self, arn: str) -> Operator | None:
        function = cleanse.PythonFunction if arn.startswith("python:") else cleanse.LambdaFunction
        return self._made(lambda: function(arn, self._outside))

    # Parts of operators.

    def _place(self, path: Path, text: str) -> PlacePath:
        return self._path(path, text, compile_place)

    def _path(self, path: Path, text: str, compile_text: Callable[[str], Compiled]) -> Compiled:
        try:
            return compile_text(text)
        except InvalidPath as error:
            self._fault(path, error.expected, error.got)
            return INVALID  # type: ignore[no-any-return]  # never used: with a fault, no operator is made

    def _regex(self, path: Path, text: str) -> regexes.Regex:
        try:
            return regexes.compile(text)
        except regexes.InvalidRegex as error:
            self._fault(path, "a regular expression (RE2)", f"{shown(text)}: {error}")
            return INVALID  # type: ignore[no-any-return]  # as above

    def _form(self, path: Path, declared: SinkField) -> Form:
        try:
            return compile_form(declared.form, declared.value, declared.template)
        except InvalidForm as error:
            self._fault((*path, error.setting), error.expected, error.got)
            return INVALID  # type: ignore[no-any-return]  # as above

    def _pattern(self, declared: Filter) -> patterns.Pattern:
        try:
            return patterns.compile(declared.pattern or {})
        except patterns.InvalidPattern as error:
            self._fault(("Pattern", *error.path), error.expected, error.got)
            return INVALID  # type: ignore[no-any-return]  # as above

    def _made(self, make: Callable[[], Operator]) -> Operator | None:
        operator = INVALID if self._has_faults else self._checked(make)
        return None if operator is INVALID else operator

    def _checked(self, make: Callable[[], Compiled]) -> Compiled:
        try:
            return make()
        except InvalidOperator as error:
            self._fault(error.path, error.expected, error.got)
            return INVALID  # type: ignore[no-any-return]  # as above

    def _fault(self, path: Path, expected: str, got: str) -> None:
        self._has_faults = True
        self._report((self._at, self._key, *path), expected, got)
