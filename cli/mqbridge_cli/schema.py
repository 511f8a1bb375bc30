"""mqbridge schema: the JSON Schema of a rules document, for editors."""

import json

from mqbridge.rules.declarations import json_schema

__all__ = ["run", "schema_text"]


def run() -> int:
    """Print the JSON Schema of a rules document; return 0."""
    print(schema_text(), end="")
    return 0


def schema_text() -> str:
    """Return the JSON Schema of a rules document as it lies in mqbridge.schema.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
