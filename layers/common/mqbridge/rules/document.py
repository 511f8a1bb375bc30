"""A whole rules document."""

from typing import TYPE_CHECKING

from .data_rules import InboundRule, OutboundRule, StatusRule
from .instances import Instances, Limits
from .kinds import ListOf, Section, setting
from .run_options import Defaults
from .sections import Declaration

if TYPE_CHECKING:
    from .streamings import EventStreaming

__all__ = ["RulesDocument"]


def _streaming() -> "type[EventStreaming]":
    from .streamings import (
        EventStreaming,  # here: with all operators it is a quarter of what a document without tasks needs
    )

    return EventStreaming


class RulesDocument(Declaration):
    """A whole rules document."""

    instances: Instances = setting("Instances", Section(Instances), doc="The brokers.")
    defaults: Defaults = setting("Defaults", Section(Defaults), default=Defaults(), doc="For all rules.")
    limits: Limits = setting("Limits", Section(Limits), default=Limits(), doc="The managed service's, to be lifted.")
    outbound: tuple[OutboundRule, ...] = setting(
        "OutboundRules", ListOf(Section(OutboundRule), keeps_faulty=True), default=(), doc="MQTT to RocketMQ."
    )
    inbound: tuple[InboundRule, ...] = setting(
        "InboundRules", ListOf(Section(InboundRule), keeps_faulty=True), default=(), doc="RocketMQ to MQTT."
    )
    status: tuple[StatusRule, ...] = setting(
        "StatusRules", ListOf(Section(StatusRule), keeps_faulty=True), default=(), doc="Clients coming and going."
    )
    streamings: "tuple[EventStreaming, ...]" = setting(
        "EventStreamings", ListOf(Section(_streaming), keeps_faulty=True), default=(), doc="Message outflow tasks."
    )
