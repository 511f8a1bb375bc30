"""Compare what came of a test with what was expected, field by field. Pure."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .document import ABSENT, Expect, ExpectDeadLetter, ExpectedMessage, ExpectNone
from .running import Result

__all__ = ["Difference", "differences"]

NOTHING = "nothing"
LONGEST = 300


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is other than expected; `path` is where the test says it, within Expect."""

    path: str
    expected: str
    got: str


def differences(expect: Expect, result: Result) -> list[Difference]:
    """Return everything that is other than expected; nothing, if the test holds."""
    if expect.messages is not None:
        return list(_messages(expect.messages, result))
    if expect.dead_letter is not None:
        return list(_dead_letter(expect.dead_letter, result))
    return list(_none(expect.nothing or ExpectNone(), result))


def _messages(expected: Sequence[ExpectedMessage], result: Result) -> Iterator[Difference]:
    if len(expected) != len(result.messages) or result.dead_letters or result.stuck:
        yield Difference("Messages", _count(len(expected), "message"), _summary(result))
    for at, (wanted, message) in enumerate(zip(expected, result.messages, strict=False)):
        for found in _message(wanted, message):
            yield Difference(f"Messages[{at}].{found.path}", found.expected, found.got)


def _dead_letter(expected: ExpectDeadLetter, result: Result) -> Iterator[Difference]:
    if len(result.dead_letters) != 1 or result.messages or result.stuck:
        yield Difference("DeadLetter", "1 dead letter", _summary(result))
        return
    (letter,) = result.dead_letters
    for key, wanted, got in (("Reason", expected.reason, letter.reason), ("Stage", expected.stage, letter.stage)):
        if wanted is not None and wanted != got:
            yield Difference(f"DeadLetter.{key}", _shown(wanted), f"{_shown(got)} ({letter.detail})")
    if expected.detail is not None and expected.detail not in letter.detail:
        yield Difference("DeadLetter.DetailContains", _shown(expected.detail), _shown(letter.detail))


def _none(expected: ExpectNone, result: Result) -> Iterator[Difference]:
    if result.messages or result.dead_letters or result.stuck:
        yield Difference("None", NOTHING, _summary(result))
    elif expected.reason is not None and expected.reason not in [each.reason for each in result.dropped]:
        yield Difference("None.Reason", _shown(expected.reason), _summary(result))


def _summary(result: Result) -> str:
    """Return everything that came of an event, in a line."""
    parts = []
    if result.messages:
        topics = ", ".join(f"{each.get('to')} {each.get('topic')}" for each in result.messages[:5])
        parts.append(
            f"{_count(len(result.messages), 'message')} to {topics}{', ...' if len(result.messages) > 5 else ''}"
        )
    for letter in result.dead_letters:
        by = f" by {letter.rule}" if letter.rule else ""
        parts.append(f"a dead letter{by}: {letter.reason} while {letter.stage}: {letter.detail}")
    parts += [each.told for each in result.stuck]
    if not parts:
        parts = [NOTHING, *(each.told for each in result.dropped)]
    return "; ".join(parts)


# One message.


def _message(expected: ExpectedMessage, got: Mapping[str, Any]) -> Iterator[Difference]:
    yield from _text("Topic", expected.topic, got.get("topic"))
    yield from _text("Instance", expected.instance, got.get("instance"))
    is_publish = got.get("to") == "mqtt"
    yield from _kind(expected, is_publish)
    if is_publish:
        data = _data(got, "payload")
        yield from _content(
            "Payload", expected.payload, expected.payload_json, expected.payload_contains, expected.payload_base64, data
        )
        yield from _plain("Qos", expected.qos, got.get("qos"))
        pairs = got.get("user_properties", [])
        yield from _named(
            "UserProperties", expected.user_properties, {name: [v for n, v in pairs if n == name] for name, _ in pairs}
        )
        yield from _plain("MessageExpiryInterval", expected.message_expiry_interval, got.get("message_expiry_interval"))
        yield from _text("ContentType", expected.content_type, got.get("content_type"))
    else:
        data = _data(got, "body")
        yield from _content(
            "Body", expected.body, expected.body_json, expected.body_contains, expected.body_base64, data
        )
        yield from _text("Tags", expected.tags, got.get("tags"))
        yield from _text("Keys", expected.keys, got.get("keys"))
        yield from _text("ShardingKey", expected.sharding_key, got.get("sharding_key"))
        yield from _named(
            "Properties", expected.properties, {name: [value] for name, value in got.get("properties", {}).items()}
        )


def _kind(expected: ExpectedMessage, is_publish: bool) -> Iterator[Difference]:
    """Yield a difference for each key that a message of this kind never has."""
    texts: dict[str, Any]
    if is_publish:
        texts = {"Body": expected.body, "BodyBase64": expected.body_base64, "Properties": expected.properties}
        texts |= {"Tags": expected.tags, "Keys": expected.keys, "ShardingKey": expected.sharding_key}
        values = {"BodyJson": expected.body_json, "BodyContains": expected.body_contains}
    else:
        texts = {"Payload": expected.payload, "PayloadBase64": expected.payload_base64, "Qos": expected.qos}
        texts |= {"UserProperties": expected.user_properties, "ContentType": expected.content_type}
        texts["MessageExpiryInterval"] = expected.message_expiry_interval
        values = {"PayloadJson": expected.payload_json, "PayloadContains": expected.payload_contains}
    said = {key: value for key, value in texts.items() if value is not None}
    said |= {key: value for key, value in values.items() if value is not ABSENT}
    kind = (
        "a PUBLISH, which has Payload, Qos and UserProperties"
        if is_publish
        else "a RocketMQ message, which has Body, Tags, Keys and Properties"
    )
    for key, value in said.items():
        yield Difference(key, _shown(value), kind)


def _content(
    key: str, text: str | None, value: Any, part: Any, encoded: str | None, got: bytes
) -> Iterator[Difference]:
    if text is not None and text.encode() != got:
        yield Difference(key, _shown(text), _shown_bytes(got))
    if encoded is not None and base64.b64decode(encoded) != got:
        yield Difference(f"{key}Base64", _shown(encoded), _shown(base64.b64encode(got).decode()))
    if value is ABSENT and part is ABSENT:
        return
    try:
        parsed = json.loads(got)
    except (ValueError, RecursionError):
        yield Difference(f"{key}{'Json' if value is not ABSENT else 'Contains'}", "JSON", _shown_bytes(got))
        return
    if value is not ABSENT:
        yield from _json(f"{key}Json", value, parsed, is_whole=True)
    if part is not ABSENT:
        yield from _json(f"{key}Contains", part, parsed, is_whole=False)


def _json(path: str, expected: Any, got: Any, *, is_whole: bool) -> Iterator[Difference]:
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        for name, value in expected.items():
            if name in got:
                yield from _json(f"{path}.{name}", value, got[name], is_whole=is_whole)
            else:
                yield Difference(f"{path}.{name}", _shown(value), NOTHING)
        for name in got if is_whole else ():
            if name not in expected:
                yield Difference(f"{path}.{name}", NOTHING, _shown(got[name]))
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for at, (one, other) in enumerate(zip(expected, got, strict=True)):
            yield from _json(f"{path}[{at}]", one, other, is_whole=is_whole)
    elif expected != got or isinstance(expected, bool) is not isinstance(got, bool):
        yield Difference(path, _shown(expected), _shown(got))


def _named(key: str, expected: Mapping[str, str | None] | None, got: Mapping[str, list[str]]) -> Iterator[Difference]:
    for name, value in (expected or {}).items():
        values = got.get(name, [])
        if values != ([] if value is None else [value]):
            told = " and ".join(map(_shown, values)) or NOTHING
            yield Difference(f"{key}.{name}", NOTHING if value is None else _shown(value), told)


def _text(key: str, expected: str | None, got: str | None) -> Iterator[Difference]:
    # "" is how a test says that there is none.
    if expected is not None and expected != (got or ""):
        yield Difference(key, _shown(expected) if expected else NOTHING, _shown(got) if got else NOTHING)


def _plain(key: str, expected: Any, got: Any) -> Iterator[Difference]:
    if expected is not None and expected != got:
        yield Difference(key, _shown(expected), NOTHING if got is None else _shown(got))


def _data(message: Mapping[str, Any], name: str) -> bytes:
    text = str(message[name])
    return base64.b64decode(text) if message[f"{name}_encoding"] == "base64" else text.encode()


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"


def _shown_bytes(data: bytes) -> str:
    try:
        return _shown(data.decode())
    except UnicodeDecodeError:
        return f"{len(data)} bytes, in Base64 {_shown(base64.b64encode(data).decode())}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
