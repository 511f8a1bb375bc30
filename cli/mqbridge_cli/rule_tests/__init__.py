"""mqbridge test: tests of rules that lie beside them, run by the code that runs, without any broker."""

from .command import run
from .document import RuleTests

__all__ = ["RuleTests", "run"]
