"""Write what came of tests into their expectations, and leave the rest of the file as it is, comments and layout included. Pure.

Only the text of a test's `Expect` is replaced. Where that would lose a comment or an anchor, or the file is not YAML, nothing is done.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

import yaml

from mqbridge.rules.declarations import read_document, settings_of

from .document import ABSENT, Expect, ExpectedMessage
from .running import Result

__all__ = ["CannotUpdate", "expectation_of", "updated"]

Plain = dict[str, Any]
WIDTH = 120


# The bridge's own mark: in a test it says nothing that the topic and the payload do not.
_ORIGIN = "mqbridge-origin"


class CannotUpdate(Exception):
    """An expectation cannot be rewritten; the message says why."""


# What came of it, as an expectation.


def expectation_of(result: Result, before: Expect) -> Plain:
    """Return an expectation that holds for `result`. Where it is of the kind that was expected, it says as much as that did.

    Raises:
        CannotUpdate: no expectation says what came of it.
    """
    if result.stuck:
        raise CannotUpdate(f"no expectation says: {result.stuck[0].told}")
    if result.dead_letters:
        if len(result.dead_letters) > 1 or result.messages:
            raise CannotUpdate("several rules did different things: name one with Rule")
        (letter,) = result.dead_letters
        return {"DeadLetter": {"Reason": letter.reason, "Stage": letter.stage}}
    if result.messages:
        wanted = before.messages if before.messages and len(before.messages) == len(result.messages) else None
        return {"Messages": [_message(each, wanted[at] if wanted else None) for at, each in enumerate(result.messages)]}
    says_why = before.nothing is None or before.nothing.reason is not None
    return {"None": {"Reason": result.dropped[0].reason} if says_why and result.dropped else {}}


def _message(got: Mapping[str, Any], wanted: ExpectedMessage | None) -> Plain:
    is_publish = got["to"] == "mqtt"
    content, properties_key = ("Payload", "UserProperties") if is_publish else ("Body", "Properties")
    data, is_text = str(got[content.lower()]), got[f"{content.lower()}_encoding"] == "utf-8"
    properties = dict(got.get("user_properties" if is_publish else "properties", {}))
    in_content = {content: data} if is_text else {f"{content}Base64": data}
    if wanted is None:
        fresh: Plain = {"Topic": got["topic"]}
        fresh |= {"Qos": got["qos"]} if is_publish else {"Tags": got.get("tags"), "Keys": got.get("keys")}
        fresh |= in_content
        fresh[properties_key] = {name: value for name, value in properties.items() if name != _ORIGIN}
        return {key: value for key, value in fresh.items() if value not in (None, {})}
    # As much as was said before, and no more.
    said = _said(wanted)
    every: Plain = {**_content(content, data, is_text, said), "Topic": got["topic"], "Instance": got["instance"]}
    for key, name in _PUBLISH_TEXTS.items() if is_publish else _ROCKETMQ_TEXTS.items():
        every[key] = got.get(name, "")
    every["Qos"] = got.get("qos")
    every["MessageExpiryInterval"] = got.get("message_expiry_interval")
    every[properties_key] = {name: properties.get(name) for name in said.get(properties_key, {})}
    kept = {key: every[key] for key in said if every.get(key) is not None}
    lost = any(key.startswith(content) for key in said) and not any(key.startswith(content) for key in kept)
    return {**kept, **(in_content if lost else {})} or {"Topic": got["topic"]}


_ROCKETMQ_TEXTS = {"Tags": "tags", "Keys": "keys", "ShardingKey": "sharding_key"}
_PUBLISH_TEXTS = {"ContentType": "content_type"}


def _content(key: str, data: str, is_text: bool, said: Plain) -> Plain:
    """Return every way to say a body or payload that it has."""
    raw = data.encode() if is_text else base64.b64decode(data)
    ways: Plain = {f"{key}Base64": base64.b64encode(raw).decode()}
    if is_text:
        ways[key] = data
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return ways
    ways[f"{key}Json"] = value
    ways[f"{key}Contains"] = _projected(said.get(f"{key}Contains"), value)
    return ways


def _said(wanted: ExpectedMessage) -> Plain:
    values = {declared.key: getattr(wanted, name) for name, declared in settings_of(ExpectedMessage).items()}
    return {key: value for key, value in values.items() if value is not None and value is not ABSENT}


def _projected(part: Any, whole: Any) -> Any:
    """Return of `whole` as much as `part` had."""
    if isinstance(part, Mapping) and isinstance(whole, Mapping):
        return {name: _projected(value, whole[name]) for name, value in part.items() if name in whole}
    if isinstance(part, list) and isinstance(whole, list) and len(part) == len(whole):
        return [_projected(one, other) for one, other in zip(part, whole, strict=True)]
    return whole


# Into the text.


def updated(text: str, at: int, expectation: Plain) -> str:
    """Return the document with the expectation of test `at` replaced.

    Raises:
        CannotUpdate: that would lose a comment or an anchor.
    """
    test = _value(_value(yaml.compose(text, Loader=yaml.SafeLoader), "Tests"), at)
    expect = _value(test, "Expect")
    start = expect.start_mark.index
    tokens = [
        token
        for token in yaml.scan(text, Loader=yaml.SafeLoader)
        if start <= token.start_mark.index < expect.end_mark.index and token.end_mark.index > token.start_mark.index
    ]
    end = max(token.end_mark.index for token in tokens)
    if any(isinstance(token, yaml.AliasToken | yaml.AnchorToken) for token in tokens):
        raise CannotUpdate("its Expect has an anchor or refers to one")
    if _has_comment(text, start, tokens):
        raise CannotUpdate("its Expect has a comment in it")
    end = start + len(text[start:end].rstrip())
    if test.flow_style:
        new = _flow(expectation)
    else:
        indent = " " * (_key(test, "Expect").start_mark.column + 2)
        lines = yaml.dump(
            expectation, Dumper=_Dumper, default_flow_style=None, sort_keys=False, allow_unicode=True, width=WIDTH
        )
        new = "\n" + "\n".join(indent + line for line in lines.splitlines())
        start = len(text[:start].rstrip())  # it may have begun beside its key, or below
    after = text[:start] + new + text[end:]
    _verify(text, after, at, expectation)
    return after


class _Dumper(yaml.SafeDumper):
    """Writes lists as people do, further in than their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent lists too."""
        del indentless
        super().increase_indent(flow, False)


def _flow(expectation: Plain) -> str:
    text = yaml.safe_dump(expectation, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf"))
    return str(text).strip()


def _has_comment(text: str, start: int, tokens: list[Any]) -> bool:
    at = start
    for token in sorted(tokens, key=lambda token: token.start_mark.index):
        if "#" in text[at : max(at, token.start_mark.index)]:
            return True
        at = max(at, token.end_mark.index)
    return False


def _verify(before: str, after: str, at: int, expectation: Plain) -> None:
    """Make sure that nothing but the one expectation has changed."""
    meant, became, new = (read_document(text, "tests.yaml").data for text in (before, after, _flow(expectation)))
    meant["Tests"][at]["Expect"] = new
    if meant != became:
        raise CannotUpdate("it is written in a way that cannot be kept")


def _key(mapping: Any, key: str) -> Any:
    return next(name for name, _ in mapping.value if name.value == key)


def _value(node: Any, key: str | int) -> Any:
    return node.value[key] if isinstance(key, int) else next(value for name, value in node.value if name.value == key)
