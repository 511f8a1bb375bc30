"""Event patterns: compile once, match fast. The language is specified in docs/patterns.md."""

from .explaining import Verdict, explain
from .matching import Pattern, PatternSet, compile, compile_set
from .parsing import InvalidPattern

__all__ = ["InvalidPattern", "Pattern", "PatternSet", "Verdict", "compile", "compile_set", "explain"]
