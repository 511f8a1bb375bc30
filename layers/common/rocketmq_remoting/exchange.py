"""The loop that serves several connections at once, and requests that all go out before the first answer is awaited."""

import select
import time
from collections.abc import Callable, Collection, Iterable, Mapping

from .codes import ResponseCode, refusal
from .connection import Connection
from .errors import ConnectFailed, RocketMQError
from .frames import Frame

__all__ = ["Request", "exchange", "require", "serve", "wait"]

# What `exchange` sends: where to, request code, fields, body.
Request = tuple[Connection, int, Mapping[str, str], bytes]


def wait(connections: Collection[Connection], done: Callable[[], bool], deadline: float) -> None:
    """Serve `connections` until `done()`, the deadline passes, or none is left; what has arrived is read in any case."""
    while not done():
        remaining_s = deadline - time.monotonic()
        if not serve(connections, max(0.0, min(remaining_s, 1.0))) or remaining_s <= 0:
            return


def serve(connections: Collection[Connection], timeout_s: float) -> bool:
    """Write and read what can be within `timeout_s`; return whether any of the connections lives."""
    live = {connection.fileno(): connection for connection in connections if not connection.is_closed}
    if not live:
        return False
    poll = select.poll()
    for descriptor, connection in live.items():
        poll.register(descriptor, connection.interest)
    for descriptor, _ in poll.poll(timeout_s * 1000):
        live[descriptor].advance()
    return True


def exchange(requests: Iterable[Request], deadline: float) -> list[Frame | RocketMQError]:
    """Send every (connection, code, fields, body), all in flight at once, and return the answers in the same order.

    What failed is returned, not raised: `ConnectFailed`, `OutcomeUnknown` or `ProtocolError`.
    """
    answers: list[Frame | RocketMQError] = []
    pending: dict[int, tuple[Connection, int]] = {}
    for connection, code, fields, body in requests:
        answers.append(ConnectFailed(f"no time left to send to {connection.address}"))
        if time.monotonic() >= deadline:
            continue
        try:
            connection.begin()
        except ConnectFailed as error:
            answers[-1] = error
        else:
            pending[len(answers) - 1] = (connection, connection.submit(code, fields, body))

    def all_answered() -> bool:
        for at, (connection, opaque) in list(pending.items()):
            answer = connection.take(opaque)
            if answer is not None:
                answers[at] = answer
                del pending[at]
        return not pending

    wait({connection for connection, _ in pending.values()}, all_answered, deadline)
    # A peer that let the time pass may be hung or gone without a word: the next request dials anew.
    for connection in {connection for connection, _ in pending.values()}:
        connection.give_up("in time")
    all_answered()
    return answers


def require(answer: Frame | RocketMQError, *also: ResponseCode) -> Frame:
    """Return a successful answer, or one of the codes `also` expected; raise what it stands for otherwise."""
    if isinstance(answer, RocketMQError):
        raise answer
    if answer.code != ResponseCode.SUCCESS and answer.code not in also:
        raise refusal(answer.code, answer.remark)
    return answer
