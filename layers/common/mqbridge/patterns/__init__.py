"""Event patterns: compile once, match fast. The language is specified in docs/patterns.md."""

from .explaining import Verdict, explain
from .matching import Pattern, compile
from .parsing import InvalidPattern

__all__ = ["InvalidPattern", "Pattern", "Verdict", "compile", "explain"]
