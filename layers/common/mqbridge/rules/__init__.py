"""Rules: what a deployment does, as configuration. Loaded and validated whole; what loads is what runs."""

from typing import TYPE_CHECKING

from mqbridge.later import later

from .data_rules import InboundRule, OutboundRule, StatusRule
from .faults import Fault, InvalidRules, RulesError, UnreadableRules, format_path
from .instances import Limits, MqttInstance, PresenceFrom, RocketMQInstance, Tls
from .load import load
from .rules import Rule, Rules
from .run_options import BatchWindow, DeadLetterQueue, RetryStrategy, RunOptions

if TYPE_CHECKING:
    from .streamings import EventStreaming
    from .tasks import Task, TopicTasks

__all__ = [
    "BatchWindow",
    "DeadLetterQueue",
    "EventStreaming",
    "Fault",
    "InboundRule",
    "InvalidRules",
    "Limits",
    "MqttInstance",
    "OutboundRule",
    "PresenceFrom",
    "RetryStrategy",
    "RocketMQInstance",
    "Rule",
    "Rules",
    "RulesError",
    "RunOptions",
    "StatusRule",
    "Task",
    "Tls",
    "TopicTasks",
    "UnreadableRules",
    "format_path",
    "load",
]

# What only documents with tasks need.
__getattr__ = later(__name__, {"EventStreaming": "streamings", "Task": "tasks", "TopicTasks": "tasks"})
