"""Pull mode: a scheduled invocation reads what the sources of inbound rules hold, and ends."""

from .puller import Pulled, Puller

__all__ = ["Pulled", "Puller"]
