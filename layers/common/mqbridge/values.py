"""Values that are made seldom: dataclasses, frozen, compared and shown by their fields.

`dataclass` would write six methods for each class and compile them: for all the classes of configuration that was a third of a cold
start. Here all share theirs, which take longer when a value is made; so what is made for every record is a `dataclass` of its own.
"""

import dataclasses
from typing import Any, NoReturn, dataclass_transform

__all__ = ["Value"]


@dataclass_transform(frozen_default=True)
class Value:
    """Base of such values; subclasses declare their fields as for `dataclass`, with or without defaults."""

    def __init_subclass__(cls) -> None:
        dataclasses.dataclass(init=False, repr=False, eq=False)(cls)

    def __init__(self, *in_order: Any, **by_name: Any) -> None:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # of subclasses, which are dataclasses
        for at, field in enumerate(fields):
            value = in_order[at] if at < len(in_order) else by_name.pop(field.name, field.default)
            if value is dataclasses.MISSING:
                raise TypeError(f"{type(self).__name__}: {field.name} is missing")
            object.__setattr__(self, field.name, value)
        if by_name or len(in_order) > len(fields):
            raise TypeError(f"{type(self).__name__} has no {', '.join(by_name) or 'so many fields'}")

    def __repr__(self) -> str:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        shown = (f"{field.name}={getattr(self, field.name)!r}" for field in fields if field.repr)
        return f"{type(self).__name__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot set {name} to {value!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot delete {name}")
