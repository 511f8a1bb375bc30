"""Event patterns: compile once, match fast. The language is specified in docs/patterns.md."""

from typing import TYPE_CHECKING

from mqbridge.later import later

from .matching import Pattern, PatternSet, compile, compile_set
from .parsing import InvalidPattern

if TYPE_CHECKING:
    from .explaining import Verdict, explain

__all__ = ["InvalidPattern", "Pattern", "PatternSet", "Verdict", "compile", "compile_set", "explain"]

__getattr__ = later(__name__, {"Verdict": "explaining", "explain": "explaining"})  # which no function does
