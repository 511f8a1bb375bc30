"""The operators of a task's Transforms, declared. What they do is in `mqbridge.cleanse`; `transforms` compiles them."""

from collections.abc import Mapping
from typing import Any, Literal

from .faults import Fault, Path
from .forms import FIELD, SinkField
from .kinds import INVALID, Choice, Flag, ListOf, MappingOf, OneOf, Raw, Refused, Section, Text, Whole, setting
from .names import REGION, ROCKETMQ_TOPIC
from .sections import Declaration

__all__ = [
    "DynamoDBRows",
    "Enrich",
    "EnrichSource",
    "FileRows",
    "Filter",
    "Function",
    "Map",
    "Mask",
    "Route",
    "RouteRule",
    "Split",
    "Transform",
]

_BODY = "$.data.body"
_PATH = Text("a JSONPath, such as $.data.body.name", r"\$.*")
_PLACE = Text("a path to one place, by names and indexes, such as $.data.body.name", r"\$.*")
_PLACES = Text("a path of names, indexes and [*], such as $.data.body.people[*].phone", r"\$.*")
_REGEX = Text("a regular expression (RE2)", r".+")
_PATTERN = Raw(
    "an event pattern, as a mapping or as JSON text",
    lambda value: isinstance(value, Mapping | str),
    schema={"type": ["object", "string"]},
)
_ROW = Raw("a row, which is a mapping", lambda value: isinstance(value, Mapping), schema={"type": "object"})


class Split(Declaration):
    """One event becomes several, each a copy with its part at Path: an array's elements as they are, text by Separator or Regex."""

    path: str = setting("Path", _PLACE, default=_BODY, doc="What to split.")
    separator: str | None = setting(
        "Separator", Text("text", r".+"), default=None, doc="What stands between the parts of text.", example="|"
    )
    regex: str | None = setting(
        "Regex", _REGEX, default=None, doc="An expression for what stands between the parts.", example="[;|]"
    )
    trims: bool = setting("Trim", Flag(), default=True, doc="Remove white space around the parts of text.")
    drops_empty: bool = setting("DropEmpty", Flag(), default=True, doc="Leave out parts of text that are empty.")


class Map(Declaration):
    """Keep, then drop, then rename, then set."""

    keep: tuple[str, ...] = setting(
        "Keep", ListOf(_PLACE), default=(), doc="Places below $.data.body; whatever else is in it goes."
    )
    drop: tuple[str, ...] = setting("Drop", ListOf(_PLACE), default=(), doc="Places that go.")
    rename: Mapping[str, str] | None = setting(
        "Rename",
        MappingOf(_PLACE, "places to their new places"),
        default=None,
        doc="Where what is at a place goes to.",
        example={"$.data.body.t": "$.data.body.temperature"},
    )
    set: Mapping[str, SinkField] | None = setting(
        "Set",
        MappingOf(FIELD, "places to what is put there"),
        default=None,
        doc="What is put at a place; forms see the event as it came.",
        example={"$.data.body.site": {"Form": "CONSTANT", "Value": "hall 3"}},
    )


class Mask(Declaration):
    """What an expression finds in text is replaced."""

    path: str = setting("Path", _PLACES, default=_BODY, doc="The text, or the array of texts; [*] is every element.")
    regex: str = setting("Regex", _REGEX, doc="What is replaced.", example=r"^(\d{3})(\d{4})(\d{4})$")
    replacement: str = setting(
        "Replacement",
        Text("text", r".*"),
        doc=r"What takes its place; \1 is what the first group found.",
        example=r"\1****\3",
    )
    separator: str | None = setting(
        "Separator", Text("text", r".+"), default=None, doc="What separates the fields of the text.", example=","
    )
    field_at: int | None = setting(
        "Field",
        Whole("the place of a field, 0 to 9999", 0, 9_999),
        default=None,
        doc="Which field, counted from 0; every one if left out.",
    )


class Filter(Declaration):
    """Events that match go on, the others are dropped. Takes Regex or Pattern."""

    path: str | None = setting(
        "Path", _PATH, default=None, doc="What is looked at: $.data.body for Regex, the whole event for Pattern."
    )
    regex: str | None = setting("Regex", _REGEX, default=None, doc="An expression that is to be found in the text.")
    pattern: Mapping[str, Any] | str | None = setting(
        "Pattern", _PATTERN, default=None, doc="An event pattern that is to match."
    )


class FileRows(Declaration):
    """Rows in a file: CSV with a header, or JSON."""

    path: str = setting(
        "Path",
        Text("the path of a .csv or .json file", r"[^\x00]+\.(csv|json)"),
        doc="The file; a relative path starts at the rules file's folder.",
        example="sites.csv",
    )
    key_column: str | None = setting(
        "KeyColumn",
        Text("the name of a column", r".+"),
        default=None,
        doc="The column with the key, by default a CSV file's first. JSON: an array of rows with it, else an object of rows by key.",
    )


class DynamoDBRows(Declaration):
    """Rows in a DynamoDB table with a partition key alone."""

    table: str = setting("Table", Text("the name of a DynamoDB table", r"[a-zA-Z0-9_.-]{3,255}"), doc="The table.")
    key_name: str = setting("KeyName", Text("the name of an attribute", r".+", 255), doc="The partition key.")
    key_type: str = setting(
        "KeyAttributeType", Choice("S", "N"), default="S", doc="The partition key's type: text or number."
    )
    region: str | None = setting("Region", REGION, default=None, doc="The region; by default the environment's.")


class EnrichSource(Declaration):
    """Where the rows are, one of three."""

    inline: Mapping[str, Mapping[str, Any]] | None = setting(
        "Inline", MappingOf(_ROW, "keys to rows"), default=None, doc="Rows that stand here, by key."
    )
    file: FileRows | None = setting("File", Section(FileRows), default=None, doc="Rows in a file.")
    dynamodb: DynamoDBRows | None = setting(
        "DynamoDB", Section(DynamoDBRows), default=None, doc="Rows in a DynamoDB table."
    )


class Enrich(Declaration):
    """What a table says of an event's key is put into the event; it replaces members of the same names."""

    key: str = setting("Key", _PATH, doc="The key.", example="$.data.body.siteId")
    source: EnrichSource = setting("From", OneOf(EnrichSource, "one of Inline, File and DynamoDB"), doc="The table.")
    into: str = setting(
        "Into", _PLACE, default=_BODY, doc="The object into which the row goes; made if nothing is there."
    )
    on_missing: Literal["Keep", "Drop", "Reject"] = setting(
        "OnMissing", Choice("Keep", "Drop", "Reject"), default="Keep", doc="What becomes of an event without a row."
    )
    ttl_s: int = setting(
        "Ttl",
        Whole("seconds, 0 to 86400", 0, 86_400),
        default=300,
        unit="s",
        doc="How long a row, or that there is none, is remembered; 0 looks it up for each event.",
    )


class RouteRule(Declaration):
    """An expression, and where what it is found in goes."""

    regex: str = setting("regex", _REGEX, doc="What is to be found in the text.", example="^BrandA")
    target_topics: tuple[str, ...] = setting(
        "targetTopics", ListOf(ROCKETMQ_TOPIC, minimum=1), doc="RocketMQ topics of the sink's instance."
    )


class Route(Declaration):
    """The event goes to the topics of all rules whose expression is found, instead of the sink's topic."""

    path: str = setting("Path", _PATH, default=_BODY, doc="The text; what is none is searched as its JSON.")
    default_topic: str | None = setting(
        "defaultTopic",
        ROCKETMQ_TOPIC,
        default=None,
        doc="Where it goes if none is found; by default to the sink's topic.",
    )
    rules: tuple[RouteRule, ...] = setting("rules", ListOf(Section(RouteRule)), doc="The rules.")


class _FunctionArn(Text):
    """The address of a function that can be called from here."""

    def read(self, value: Any, path: Path, faults: list[Fault]) -> Any:
        if isinstance(value, str) and value.startswith("acs:"):
            faults.append(
                Fault(
                    code="MB106",
                    path=path,
                    expected=f"{self.what}: only the managed service calls functions of Function Compute",
                    got=repr(value[:150]),
                    help="ship the function's code in the package transforms and call it as python:transforms.MODULE:FUNCTION",
                )
            )
            return INVALID
        return super().read(value, path, faults)


_FUNCTION = _FunctionArn(
    "arn:aws:lambda:REGION:ACCOUNT:function:NAME or python:transforms.MODULE:FUNCTION",
    r"arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:function:[a-zA-Z0-9_-]{1,140}(:[a-zA-Z0-9$_-]{1,128})?"
    r"|python:transforms(\.[a-zA-Z_][a-zA-Z0-9_]*)+:[a-zA-Z_][a-zA-Z0-9_]*",
)
_AI = Refused("a Function that calls the model: AI transforms are the managed service's own")


class Function(Declaration):
    """A function of the deployment decides: nothing drops the event, an object replaces it, a list splits it."""

    arn: str = setting(
        "Arn",
        _FUNCTION,
        doc="A Lambda function, or a function of the package transforms.",
        example="python:transforms.readings:in_celsius",
    )


class Transform(Declaration):
    """One operator."""

    split: Split | None = setting("Split", Section(Split), default=None, doc="One event becomes several.")
    map: Map | None = setting(
        "Map", Section(Map), default=None, doc="Keeps, drops, renames and sets parts of an event."
    )
    mask: Mask | None = setting("Mask", Section(Mask), default=None, doc="Replaces what an expression finds.")
    filter: Filter | None = setting("Filter", Section(Filter), default=None, doc="Lets events go on that match.")
    enrich: Enrich | None = setting("Enrich", Section(Enrich), default=None, doc="Adds what a table says.")
    route: Route | None = setting("Route", Section(Route), default=None, doc="Chooses the topics.")
    function: Function | None = setting("Function", Section(Function), default=None, doc="Calls a function.")
    arn: str | None = setting("Arn", _FUNCTION, default=None, doc="CreateEventStreaming's own spelling of Function.")
    bailian: None = setting("BaiLianAgentTransformParameters", _AI, default=None, doc="Refused.")
    dashscope: None = setting("DashScopeTransformParameters", _AI, default=None, doc="Refused.")
    embedding: None = setting("EmbeddingTransformParameters", _AI, default=None, doc="Refused.")
