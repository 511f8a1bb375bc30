"""mqbridge task: what the message outflow tasks of a runner do; pause one, resume one."""

import http.client
import json
import sys
from typing import Any

from mqbridge_cli.task_tables import list_text, show_text

__all__ = ["run"]

# The runner's own (runner/control.py), not imported: this command must not load what the runner does.
CONTROL = {"Mqbridge-Control": "task"}
ASK_TIMEOUT_S = 10.0
# A pause answers when what was under way is done.
COMMAND_TIMEOUT_S = 60.0


class _NotReachable(Exception):
    pass


def run(command: str, name: str | None, runner: str, output: str) -> int:
    """Ask the runner at `runner` (HOST:PORT), or tell it; return 0 done, 1 no such task or refused, 2 not reachable."""
    try:
        status, document = _ask(command, name, runner)
    except _NotReachable as error:
        print(f"no runner at {runner}: {error}", file=sys.stderr)
        return 2
    if status != 200:
        print(document.get("error", f"the runner answered {status}"), file=sys.stderr)
        return 1
    if output == "json":
        print(json.dumps(document, indent=2))
    elif command == "list":
        print(list_text(document["tasks"]), end="")
    elif command == "show":
        print(show_text(document["task"]), end="")
    else:
        task = document["task"]
        print(f"{task['name']}: {task['status']}" + (f" ({task['reason']})" if task["reason"] else ""))
    return 0


def _ask(command: str, name: str | None, runner: str) -> tuple[int, dict[str, Any]]:
    is_command = command in ("pause", "resume")
    host, _, port = runner.rpartition(":")
    path = "/tasks" if name is None else f"/tasks/{name}/{command}" if is_command else f"/tasks/{name}"
    try:
        connection = http.client.HTTPConnection(
            host.strip("[]") or "127.0.0.1", int(port), timeout=COMMAND_TIMEOUT_S if is_command else ASK_TIMEOUT_S
        )
        try:
            connection.request("POST" if is_command else "GET", path, headers=CONTROL if is_command else {})
            answer = connection.getresponse()
            document = json.loads(answer.read())
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _NotReachable(str(error) or type(error).__name__) from error
    if not isinstance(document, dict) or not ("format_version" in document or "error" in document):
        raise _NotReachable("what listens there is none")
    return answer.status, document
