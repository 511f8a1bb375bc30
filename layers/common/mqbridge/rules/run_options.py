"""How a rule or task runs: errors, retries, dead letters, batches."""

from .kinds import Choice, Ignored, Section, Whole, setting
from .queue_address import QUEUE_ADDRESS
from .sections import Declaration

__all__ = ["BatchWindow", "DeadLetterQueue", "Defaults", "RetryStrategy", "RunOptions"]


class RetryStrategy(Declaration):
    """When a failed record is tried again."""

    push_retry_strategy: str = setting(
        "PushRetryStrategy",
        Choice("BACKOFF_RETRY", "EXPONENTIAL_DECAY_RETRY"),
        default="BACKOFF_RETRY",
        doc="BACKOFF_RETRY: 3 retries, each after 10 to 20 s. EXPONENTIAL_DECAY_RETRY: 176, after 1, 2, 4 ... 512 s.",
    )
    maximum_retry_attempts: int | None = setting(
        "MaximumRetryAttempts",
        Whole("0 to 1000", 0, 1000),
        default=None,
        doc="Fewer or more retries than the strategy's own; 0 is its own.",
    )
    maximum_event_age_s: int | None = setting(
        "MaximumEventAgeInSeconds",
        Whole("seconds, 0 to 604800", 0, 604_800),
        default=None,
        unit="s",
        doc="No retry once the event is older; 0 is no limit.",
    )


class DeadLetterQueue(Declaration):
    """Where a record goes that cannot be delivered."""

    arn: str = setting(
        "Arn",
        QUEUE_ADDRESS,
        doc="A RocketMQ topic of an instance of this document, an SQS queue, or an EventBridge bus of AWS.",
        example="acs:mq:local:0:/instances/rmq-local/topic/mqbridge_dlq",
    )
    network: None = setting("Network", Ignored("networks are the deployment's"), default=None, doc="Ignored.")
    vpc_id: None = setting("VpcId", Ignored("networks are the deployment's"), default=None, doc="Ignored.")
    v_switch_ids: None = setting("VSwitchIds", Ignored("networks are the deployment's"), default=None, doc="Ignored.")
    security_group_id: None = setting(
        "SecurityGroupId", Ignored("networks are the deployment's"), default=None, doc="Ignored."
    )

    @property
    def kind(self) -> str:
        """What the address names: "rocketmq", "sqs" or "event_bus"."""
        return {"": "rocketmq", "sqs": "sqs", "events": "event_bus"}[self._aws_part(2)]

    @property
    def instance_and_topic(self) -> tuple[str, str]:
        """The RocketMQ instance and topic that the address names; both are "" if it names something else."""
        instance_id, _, topic = self.arn.partition(":/instances/")[2].partition("/topic/")
        return instance_id, topic

    @property
    def region(self) -> str:
        """The region of an SQS queue or an EventBridge bus; this and what follows is "" of a RocketMQ topic."""
        return self._aws_part(3)

    @property
    def account(self) -> str:
        """The account of an SQS queue or an EventBridge bus."""
        return self._aws_part(4)

    @property
    def name(self) -> str:
        """The name of an SQS queue or an EventBridge bus."""
        return self._aws_part(5).removeprefix("event-bus/")

    @property
    def is_fifo(self) -> bool:
        """Whether an SQS queue keeps an order within groups."""
        return self.name.endswith(".fifo")

    def _aws_part(self, at: int) -> str:
        return self.arn.split(":", 5)[at] if self.arn.startswith("arn:") else ""


class BatchWindow(Declaration):
    """How many messages make a batch; whichever limit is reached first closes it."""

    count: int = setting(
        "CountBasedWindow", Whole("1 to 10000", 1, 10_000), default=1_000, doc="Messages.", unit="messages"
    )
    seconds: int = setting(
        "TimeBasedWindow",
        Whole("seconds, 0 to 15", 0, 15),
        default=0,
        unit="s",
        doc="How long to wait for the count; 0 sends what is there at once.",
    )


class RunOptions(Declaration):
    """How a rule or task runs. What is left out comes from Defaults.RunOptions."""

    errors_tolerance: str | None = setting(
        "ErrorsTolerance",
        Choice("NONE", "ALL"),
        default=None,
        doc="ALL discards what still fails after the retries, where there is no dead-letter queue; NONE (the default) never does.",
    )
    retry_strategy: RetryStrategy | None = setting(
        "RetryStrategy",
        Section(RetryStrategy),
        default=None,
        doc="Data and status rules without one retry until it works; tasks use BACKOFF_RETRY.",
    )
    dead_letter_queue: DeadLetterQueue | None = setting(
        "DeadLetterQueue", Section(DeadLetterQueue), default=None, doc="Where a record goes that cannot be delivered."
    )
    batch_window: BatchWindow | None = setting(
        "BatchWindow", Section(BatchWindow), default=None, doc="Batches in the runner."
    )
    throttling: int | None = setting(
        "Throttling",
        Whole("events per second, at least 1", 1, 1_000_000),
        default=None,
        unit="1/s",
        doc="Limit in the runner.",
    )
    maximum_tasks: None = setting(
        "MaximumTasks", Ignored("concurrency is the deployment's"), default=None, doc="Ignored."
    )
    business_option: None = setting(
        "BusinessOption", Ignored("billing of the managed service"), default=None, doc="Ignored."
    )


class Defaults(Declaration):
    """What holds for every rule that says nothing else."""

    run_options: RunOptions = setting("RunOptions", Section(RunOptions), default=RunOptions(), doc="Run options.")
