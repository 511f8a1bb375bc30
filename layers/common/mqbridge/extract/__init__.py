"""Take values out of an event: JSONPath, and the four forms ORIGINAL, JSONPATH, CONSTANT, TEMPLATE. Pure."""

from .forms import Constant, Form, InvalidForm, Partial, Unextractable, compile_form, text_of
from .paths import MISSING, InvalidPath, Path, PlacePath, TooManySteps, compile_path, compile_place, put, remove

__all__ = [
    "MISSING",
    "Constant",
    "Form",
    "InvalidForm",
    "InvalidPath",
    "Partial",
    "Path",
    "PlacePath",
    "TooManySteps",
    "Unextractable",
    "compile_form",
    "compile_path",
    "compile_place",
    "put",
    "remove",
    "text_of",
]
