"""mqbridge: MQTT <-> RocketMQ data rules as serverless functions."""

__version__ = "0.1.0"
