"""Patterns of ours as JSON Schema wants them: in ECMA-262's regular expressions, and anchored. Pure.

Python and ECMA mean different things by many signs. What is translated here means the same in both; what has no safe translation
raises, so that the declaration is written in other words.
"""

import re

__all__ = ["WHITE_SPACE", "UntranslatablePattern", "ecma_pattern"]

# What \s is to Python's re; ECMA's lacks U+001C to U+001F and U+0085, and has U+FEFF.
WHITE_SPACE = r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# With the flag u, as validators compile patterns, ECMA takes a backslash before these only.
_SYNTAX = r"\^\$\\.*+?()\[\]{}|/"
_TOKEN = re.compile(
    rf"""
      (?P<end>\\Z)
    | (?P<space>\\[sS])
    | (?P<character>\\x[0-9a-fA-F]{{2}} | \\[tnrfv] | \\[{_SYNTAX}])
    | (?P<any>\.)
    | (?P<class>\[\^?(?!\]) (?: \\. | [^\]\\] )* \])
    | (?P<group>\((?:\?[:=!])? (?!\?) | \) | \|)
    | (?P<repeat>(?:[*+?] | \{{[0-9]+(?:,[0-9]*)?\}}) \?? (?![+*?{{]))
    | (?P<literal>[^\\\[\](){{}}|.*+?^$])
    """,
    re.VERBOSE | re.DOTALL,
)
_IN_CLASS = re.compile(rf"\\s|\\x[0-9a-fA-F]{{2}}|\\[tnrfv]|\\[-{_SYNTAX}]|[^\\]", re.DOTALL)


class UntranslatablePattern(ValueError):
    """A pattern has a sign that means something else, or nothing, in ECMA-262."""


def ecma_pattern(pattern: str) -> str:
    r"""Return a pattern that finds in ECMA-262 what `re.fullmatch(pattern, text, re.DOTALL)` matches.

    >>> ecma_pattern(r"a|\S+")
    '^(?:a|[^\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+)$'

    Raises:
        UntranslatablePattern: names the place.
    """
    parts, at, depth, has_choice = [], 0, 0, False
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            raise UntranslatablePattern(f"no translation of {pattern[at : at + 10]!r} in {pattern!r}")
        text = token[0]
        depth += {"(": 1, ")": -1}.get(text[0], 0) if token.lastgroup == "group" else 0
        has_choice = has_choice or (text == "|" and depth == 0)
        parts.append(_translated(str(token.lastgroup), text))
        at = token.end()
    whole = "".join(parts)
    return f"^(?:{whole})$" if has_choice else f"^{whole}$"


def _translated(kind: str, text: str) -> str:
    if kind == "end":
        return "$"
    if kind == "space":
        return f"[{WHITE_SPACE}]" if text == r"\s" else f"[^{WHITE_SPACE}]"
    if kind == "any":
        return r"[\s\S]"
    if kind == "class":
        return _class(text)
    return text


def _class(text: str) -> str:
    opening = "[^" if text.startswith("[^") else "["
    inner, at, parts = text[len(opening) : -1], 0, []
    while at < len(inner):
        token = _IN_CLASS.match(inner, at)
        if token is None:
            raise UntranslatablePattern(f"no translation of {inner[at : at + 2]!r} in {text!r}")
        parts.append(WHITE_SPACE if token[0] == r"\s" else token[0])
        at = token.end()
    return f"{opening}{''.join(parts)}]"
