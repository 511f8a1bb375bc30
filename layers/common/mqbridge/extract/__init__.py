"""Take values out of an event: JSONPath, and the four forms ORIGINAL, JSONPATH, CONSTANT, TEMPLATE. Pure."""

from .forms import Constant, Form, InvalidForm, Partial, Unextractable, compile_form, text_of
from .paths import MISSING, InvalidPath, Path, PlacePath, compile_path, compile_place, put, remove

__all__ = [
    "MISSING",
    "Constant",
    "Form",
    "InvalidForm",
    "InvalidPath",
    "Partial",
    "Path",
    "PlacePath",
    "Unextractable",
    "compile_form",
    "compile_path",
    "compile_place",
    "put",
    "remove",
    "text_of",
]
