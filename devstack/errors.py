"""What can go wrong in the devstack.

DevstackError
|-- SetupError      a program or a jar is missing: says what to run
|-- StartError      a server did not come up: carries the end of its log
|-- CommandError    a tool that ran to its end failed: carries what it wrote
`-- RefusedError    a RocketMQ server answered one of our calls with an error code
"""


class DevstackError(RuntimeError):
    """Base class of everything that this package raises on purpose."""


class SetupError(DevstackError):
    """Something has to be installed first."""


class StartError(DevstackError):
    """A server ended or stayed silent before it was ready."""


class CommandError(DevstackError):
    """A tool reported failure, or took longer than it was given."""


class RefusedError(DevstackError):
    """A RocketMQ server understood the call and declined it."""

    def __init__(self, request_code: int, response_code: int, remark: str) -> None:
        super().__init__(f"request {request_code} was answered with code {response_code}: {remark}")
        self.response_code = response_code
