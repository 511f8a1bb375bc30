"""What the built-in Python 3.12 runtime does with a function: `python -S bootstrap.py MODULE.FUNCTION DESCRIPTOR`.

It reads invocations as JSON lines from standard input, and writes what became of each as a JSON line to the file descriptor. The handler
gets the event as bytes, unparsed, and a context; what it returns is JSON unless it is text; what it raises is an error with its stack.
"""

import base64
import importlib
import json
import os
import sys
import traceback
from typing import Any


class FunctionMeta:
    """`context.function`."""

    def __init__(self, name: str, handler: str, memory: int, timeout: int) -> None:
        self.name = name
        self.handler = handler
        self.memory = memory
        self.timeout = timeout
        self.version_id = ""
        self.qualifier = "LATEST"


class FCContext:
    """The context of Python 3.12, which has no credentials any more: they are in the environment."""

    def __init__(self, request_id: str, function: FunctionMeta) -> None:
        self.account_id = os.environ["FC_ACCOUNT_ID"]
        self.request_id = request_id
        self.function = function
        self.logger = None
        self.log_project = self.log_store = ""
        self.region = os.environ["FC_REGION"]


def main() -> None:
    """Load the handler, say so, and serve invocations until the end of the input."""
    name = sys.argv[1]
    results = os.fdopen(int(sys.argv[2]), "w", encoding="utf-8")
    handler, error = _loaded(name)
    _tell(results, error or {})
    for line in sys.stdin:
        call = json.loads(line)
        request_id = call["request_id"]
        print(f"FC Invoke Start RequestId: {request_id}", flush=True)
        meta = FunctionMeta(os.environ["FC_FUNCTION_NAME"], name, call["memory"], call["timeout"])
        result = error or _called(handler, base64.b64decode(call["event"]), FCContext(request_id, meta))
        print(f"FC Invoke End RequestId: {request_id}", flush=True)
        _tell(results, result)


def _loaded(name: str) -> tuple[Any, dict[str, Any] | None]:
    module, _, function = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), function), None
    except Exception as error:
        return None, _error(error)


def _called(handler: Any, event: bytes, context: FCContext) -> dict[str, Any]:
    try:
        result = handler(event, context)
        return {"result": result if isinstance(result, str) else json.dumps(result)}
    except Exception as error:
        return _error(error)


def _error(error: Exception) -> dict[str, Any]:
    stack = traceback.format_exc().splitlines()
    print("\n".join(stack), flush=True)
    return {"error": {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": stack}}


def _tell(results: Any, what: dict[str, Any]) -> None:
    results.write(json.dumps(what) + "\n")
    results.flush()


if __name__ == "__main__":
    main()
