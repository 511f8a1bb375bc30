"""What MQBRIDGE_RULES and MQBRIDGE_RULES_TTL say, as values. Pure."""

import math

from mqbridge.rules import UnreadableRules
from mqbridge.values import Value

__all__ = [
    "DEFAULT_TTL_S",
    "AppConfigProfile",
    "Inline",
    "LocalFile",
    "Parameter",
    "Place",
    "S3Object",
    "place_of",
    "ttl_s_of",
]

# Four times the 15 s that AppConfig asks clients to leave between two looks; a change is in force everywhere a minute later.
DEFAULT_TTL_S = 60.0


class Inline(Value):
    """The document itself."""

    text: str


class LocalFile(Value):
    """A file."""

    path: str


class Parameter(Value):
    """A parameter of the Parameter Store; with a slash at the end, the parameters directly below, which are the document's parts."""

    name: str

    @property
    def is_in_parts(self) -> bool:
        """Whether the document is in several parameters."""
        return self.name.endswith("/")


class AppConfigProfile(Value):
    """A configuration profile of AppConfig, in an environment of an application; each by name or id."""

    application: str
    environment: str
    profile: str


class S3Object(Value):
    """An object in a bucket."""

    bucket: str
    key: str


Place = Inline | LocalFile | Parameter | AppConfigProfile | S3Object


def place_of(source: str) -> Place:
    """Return the place that MQBRIDGE_RULES names.

    Raises:
        UnreadableRules: it begins as one of the kinds of places, and does not go on as that.
    """
    if source.lstrip().startswith("{"):
        return Inline(source)
    if source.startswith("ssm:"):
        name = source.removeprefix("ssm:")
        if not name.strip("/"):
            raise UnreadableRules(
                source, "expected ssm:/name, or ssm:/path/ with the document's parts below, got no name"
            )
        return Parameter(name)
    if source.startswith("appconfig:"):
        parts = source.removeprefix("appconfig:").split("/")
        if len(parts) != 3 or not all(parts):
            raise UnreadableRules(source, "expected appconfig:APPLICATION/ENVIRONMENT/PROFILE, got another form")
        return AppConfigProfile(*parts)
    if source.startswith("s3:"):
        bucket, _, key = source.removeprefix("s3://").partition("/")
        if not source.startswith("s3://") or not bucket or not key:
            raise UnreadableRules(source, "expected s3://bucket/key, got another form")
        return S3Object(bucket, key)
    return LocalFile(source)


def ttl_s_of(setting: str | None, place: Place) -> float | None:
    """Return after how many seconds `place` is looked at again, None for never; `setting` is MQBRIDGE_RULES_TTL, if it is set.

    The environment of a process does not change. A file may, where it is mounted; it is looked at only if the setting says so.

    Raises:
        UnreadableRules: the setting is no number of seconds.
    """
    if not setting:
        return None if isinstance(place, Inline | LocalFile) else DEFAULT_TTL_S
    try:
        ttl_s = float(setting)
    except ValueError:
        ttl_s = -1.0
    if not (math.isfinite(ttl_s) and ttl_s >= 0):
        raise UnreadableRules("MQBRIDGE_RULES_TTL", f"expected seconds, 0 or more, got {setting!r}")
    return None if isinstance(place, Inline) else ttl_s
