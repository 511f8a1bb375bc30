"""What the sections of a rules document are: dataclasses, frozen, made by keyword, compared and shown by their fields.

`dataclass` would write six methods for each section and compile them; for forty sections that was a third of a cold start. Here all
share theirs.
"""

import dataclasses
from typing import Any, NoReturn, dataclass_transform

from .kinds import setting

__all__ = ["Declaration"]


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(setting,))
class Declaration:
    """Base of the sections; its subclasses declare their fields with `setting`."""

    def __init_subclass__(cls) -> None:
        dataclasses.dataclass(init=False, repr=False, eq=False)(cls)

    def __init__(self, **values: Any) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # of subclasses, which are dataclasses
            value = values.pop(field.name, field.default)
            if value is dataclasses.MISSING:
                raise TypeError(f"{type(self).__name__}: {field.name} is missing")
            object.__setattr__(self, field.name, value)
        if values:
            raise TypeError(f"{type(self).__name__} has no {', '.join(values)}")

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot set {name} to {value!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot delete {name}")
