"""A stand-in for Alibaba Cloud Function Compute: it calls functions as the service does, here, without an account.

It runs what `make build-fc` builds (for this machine's Python) as s.yaml or s.custom.yaml declares it, in a process for each instance,
which sees nothing but the code, its environment and what the service tells it. A built-in runtime is called with bytes and a context; a
custom runtime is an HTTP server that is posted to with the service's headers, and judged by `x-fc-status`. Around it: the answer of a
synchronous invocation, the retries and the destination of an asynchronous one, and an event stream with its batches, its retries and its
dead-letter queue.

By documentation, and not by having seen the service. Not imitated: freezing between calls, memory and CPU, /code (it lies where it was
built), EventBridge's own sources and transformations, signatures, HTTP triggers, versions and aliases.
"""

from .declared import Declared, StreamOptions, read_services
from .host_build import HostBuild
from .instances import Answer
from .service import EventStream, FcService, Lost

__all__ = ["Answer", "Declared", "EventStream", "FcService", "HostBuild", "Lost", "StreamOptions", "read_services"]
