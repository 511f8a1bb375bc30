"""What the sections of a rules document are: values made by keyword, whose fields are declared with `setting`."""

from typing import dataclass_transform

from mqbridge.values import Value

from .kinds import setting

__all__ = ["Declaration"]


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(setting,))
class Declaration(Value):
    """Base of the sections."""
