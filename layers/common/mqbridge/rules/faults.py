"""What is wrong with a rules document: all of it at once, each with its place."""

from mqbridge.values import Value

__all__ = ["Fault", "InvalidRules", "Path", "RulesError", "UnreadableRules", "format_path"]

Path = tuple[str | int, ...]


def format_path(path: Path) -> str:
    """Return a path as people write it: OutboundRules[1].Destination.Topic."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "(document)"


class Fault(Value):
    """One thing that is wrong: where, what was expected and what came. `help` is the next step, where one is known."""

    code: str
    path: Path
    expected: str
    got: str
    help: str = ""
    line: int = 1
    column: int = 1

    @property
    def is_notice(self) -> bool:
        """Whether it is worth saying and does no harm."""
        return self.code.startswith("MB3")

    def text(self, name: str) -> str:
        """Return the fault as one line, `FILE:LINE:COL CODE PATH: expected ..., got ...`."""
        return f"{name}:{self.line}:{self.column} {self.code} {format_path(self.path)}: expected {self.expected}, got {self.got}"


class RulesError(Exception):
    """Base of what loading rules raises."""


class UnreadableRules(RulesError):
    """The document cannot be had, or is not YAML, JSON or TOML."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name = name
        self.why = why


class InvalidRules(RulesError):
    """The document is read, and says things that cannot be; `faults` holds all of them."""

    def __init__(self, name: str, faults: list[Fault]) -> None:
        super().__init__("\n".join(fault.text(name) for fault in faults))
        self.name = name
        self.faults = faults
