"""What `mqbridge run` was told, and the documents that it loads by it."""

import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mqbridge.cleanse import RealOutside
from mqbridge.rules import InvalidRules, Rules, RulesError, load
from mqbridge_cli.runner.holds import StateDirectory
from mqbridge_cli.runner.lambda_functions import Functions, InvokeSettings, LambdaFunctions
from mqbridge_cli.validate import print_faults

__all__ = ["RunSettings", "load_or_say"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """The command's options.

    Args:
        rules_path: the rules document.
        listen: HOST:PORT of the listener.
        state_directory: where tasks' pauses and blocks are kept.
        share: this runner's name among several that share the load; "" if it is the only one.
        part: (number, of how many), of a worker of a supervisor.
        accepted_path: what a worker's supervisor took over from the rules document; it may have changed since.
        invoke: the functions that are to carry records out; None if this process is.
    """

    rules_path: str
    listen: str
    state_directory: Path
    share: str = ""
    part: tuple[int, int] | None = None
    accepted_path: str | None = None
    invoke: InvokeSettings | None = None

    @property
    def holds(self) -> StateDirectory:
        """The state of this document's tasks; one that is no file is known by its text."""
        path = self.rules_path if self.is_file else f"/rules-{sha256(self.rules_path.encode()).hexdigest()[:12]}"
        return StateDirectory(self.state_directory, path, self.share)

    @property
    def is_file(self) -> bool:
        """Whether the document is a file, and not given as JSON text."""
        return not self.rules_path.lstrip().startswith("{")

    def functions(self) -> Functions | None:
        """Return what carries records out, if not this process.

        Raises:
            CannotRun: it cannot be reached from here.
        """
        return LambdaFunctions(self.invoke) if self.invoke is not None else None

    def load(self, path: str | None = None) -> Rules:
        """Load the document, or a copy of it; what it refers to lies beside the document.

        Raises:
            RulesError: there is none, or it has faults.
        """
        source = path or self.accepted_path or self.rules_path
        if not self.is_file:
            return load(source)
        return load(source, outside=RealOutside(Path(self.rules_path).parent))


def load_or_say(settings: RunSettings) -> Rules | None:
    """Load the document at the start; where that fails, say why on standard error and return None."""
    try:
        return settings.load()
    except InvalidRules as error:
        print_faults(settings.rules_path, error.faults, sys.stderr)
    except RulesError as error:
        print(error, file=sys.stderr)
    return None
