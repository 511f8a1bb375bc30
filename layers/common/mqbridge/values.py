"""Values that are made seldom: dataclasses, frozen, compared and shown by their fields.

`dataclass` would write six methods for each class and compile them: for all the classes of configuration that was a third of a cold
start. Here all share theirs, which take longer when a value is made; so what is made for every record is a `dataclass` of its own.
"""

import dataclasses
from typing import Any, NoReturn, dataclass_transform

__all__ = ["Value"]


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
class Value:
    """Base of such values; subclasses declare their fields as for `dataclass`, with or without defaults.

    What follows from other fields is declared with init=False, and set by `__post_init__`.
    """

    def __init_subclass__(cls) -> None:
        dataclasses.dataclass(init=False, repr=False, eq=False)(cls)

    def __init__(self, *in_order: Any, **by_name: Any) -> None:
        fields = [each for each in _fields(self) if each.init]
        for at, field in enumerate(fields):
            value = in_order[at] if at < len(in_order) else by_name.pop(field.name, field.default)
            if value is dataclasses.MISSING:
                raise TypeError(f"{type(self).__name__}: {field.name} is missing")
            object.__setattr__(self, field.name, value)
        if by_name or len(in_order) > len(fields):
            raise TypeError(f"{type(self).__name__} has no {', '.join(by_name) or 'so many fields'}")
        self.__post_init__()

    def __post_init__(self) -> None:
        """Set the fields that follow from others."""

    def __repr__(self) -> str:
        shown = (f"{field.name}={getattr(self, field.name)!r}" for field in _fields(self) if field.repr)
        return f"{type(self).__name__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        return _compared(self) == _compared(other) if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        return hash(_compared(self))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot set {name} to {value!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot delete {name}")


def _fields(value: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(value)


def _compared(value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, field.name) for field in _fields(value) if field.compare)
