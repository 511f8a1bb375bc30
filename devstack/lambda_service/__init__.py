"""A stand-in for the Lambda service: it runs functions as Lambda does, without Docker, and speaks Lambda's invoke API on loopback.

The function runs in AWS's own runtime interface client (awslambdaric), in a process for each execution environment, and sees only what it
has on Lambda: its code, its layers, and what the managed runtime brings. What a layer forgot is missing here, too.

As the service: concurrency, timeouts, errors, payload limits, asynchronous retries, the tail of the log.
Not imitated: freezing between calls, the share of CPU, the memory limit, a read-only file system, /opt (layers lie where they were built),
extensions, SnapStart, versions and aliases, response streaming, the 1,000 environments of an account.
"""

from .environment import Answer
from .event_source import EventSourceMapping, failed_of
from .functions import Function
from .host_build import HostBuild
from .queues import MadeQueue, make_queues
from .service import AsyncInvocation, LambdaService, Refused
from .template import DeclaredQueue, QueueSource

__all__ = [
    "Answer",
    "AsyncInvocation",
    "DeclaredQueue",
    "EventSourceMapping",
    "Function",
    "HostBuild",
    "LambdaService",
    "MadeQueue",
    "QueueSource",
    "Refused",
    "failed_of",
    "make_queues",
]
