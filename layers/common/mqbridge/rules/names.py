"""Kinds of names that several rooms of the document share."""

from .kinds import Text

__all__ = ["FREE_TEXT", "GROUP", "INSTANCE_ID", "MQTT_PARENT", "REGION", "ROCKETMQ_TOPIC"]

INSTANCE_ID = Text("an instance id: 1 to 64 letters, digits, '-' or '_'", r"[a-zA-Z0-9_-]{1,64}")
MQTT_PARENT = Text("a parent topic: one level, without '/', '+', '#' or NUL", r"[^/+#\x00$][^/+#\x00]*", 65_535)
ROCKETMQ_TOPIC = Text(
    "a RocketMQ topic: 1 to 127 letters, digits, '-', '_', '%' or '|', not a system topic",
    r"(?!%RETRY%|%DLQ%|rmq_sys_|(SCHEDULE_TOPIC_XXXX|RMQ_SYS_TRANS_HALF_TOPIC|RMQ_SYS_TRANS_OP_HALF_TOPIC"
    r"|TRANS_CHECK_MAX_TIME_TOPIC|SELF_TEST_TOPIC|OFFSET_MOVED_EVENT|TBW102|BenchmarkTest|RMQ_SYS_TRACE_TOPIC)\Z)"
    r"[%|a-zA-Z0-9_-]{1,127}",
)
GROUP = Text("a consumer group: 1 to 255 letters, digits, '-', '_', '%' or '|'", r"[%|a-zA-Z0-9_-]{1,255}")
FREE_TEXT = Text("text", r".*")
REGION = Text("a region name", r"\S+")
