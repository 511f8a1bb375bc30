"""What brokers keep for one consumer group: messages, offsets, members. Scripts for a `ScriptedBroker`."""

import json
import time
from collections.abc import Mapping

from .scripted_broker import Answer, Request, ScriptedBroker
from .vectors import stored_message

__all__ = ["Clock", "ScriptedGroup"]

PULL, QUERY_OFFSET, UPDATE_OFFSET, SEARCH, MAX, MIN, HEART_BEAT, UNREGISTER = 11, 14, 15, 29, 30, 31, 34, 35
SEND_BACK, MEMBERS, IDS_CHANGED, LOCK, UNLOCK, ALL_OFFSETS = 36, 38, 40, 41, 42, 43
SUSPEND = 2
PULL_NOT_FOUND, OFFSET_MOVED, QUERY_NOT_FOUND = 19, 21, 22

Place = tuple[str, int]  # topic and queue


class Clock:
    """What a module of the client takes for the module `time`: real, but it can be set forward."""

    sleep = staticmethod(time.sleep)
    time = staticmethod(time.time)

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s


class ScriptedGroup:
    """The group on one broker. Pulls that find nothing are held until `add` brings something, as a real broker does."""

    def __init__(self, broker: ScriptedBroker, group: str) -> None:
        self.broker = broker
        self.group = group
        self.messages: dict[Place, list[bytes]] = {}
        self.times: dict[Place, list[int]] = {}
        self.first: dict[Place, int] = {}  # the oldest offset that is still there
        self.committed: dict[Place, int] = {}
        self.commits: list[tuple[str, int, int]] = []
        self.me = ""
        self.others: list[str] = []
        self.heartbeats: list[dict[str, object]] = []
        self.held: list[Request] = []
        self.zero_for_unknown_groups = True
        self.locks: dict[Place, str] = {}  # who holds a queue
        broker.on(PULL, self.pull)
        broker.on(QUERY_OFFSET, self.query_offset)
        broker.on(UPDATE_OFFSET, self.update_offset)
        broker.on(SEARCH, self.search)
        broker.on(MAX, lambda request: Answer(fields={"offset": str(self.end(_place(request)))}))
        broker.on(MIN, lambda request: Answer(fields={"offset": str(self.first.get(_place(request), 0))}))
        broker.on(HEART_BEAT, self.heartbeat)
        broker.on(UNREGISTER, Answer())
        broker.on(SEND_BACK, Answer())
        broker.on(MEMBERS, self.members)
        broker.on(LOCK, self.lock)
        broker.on(UNLOCK, self.unlock)
        broker.on(ALL_OFFSETS, self.all_offsets)

    def add(
        self,
        body: bytes | str,
        *,
        topic: str = "t",
        queue: int = 0,
        properties: Mapping[str, str] | bytes = b"",
        system_flag: int = 0,
        reconsume_times: int = 0,
        store_ms: int = 1_700_000_000_000,
    ) -> None:
        """Store a message, and answer who waits for it."""
        place = (topic, queue)
        raw = body if isinstance(body, bytes) else body.encode()
        offset = self.end(place)
        self.messages.setdefault(place, []).append(
            stored_message(
                topic=topic,
                body=raw,
                properties=properties,
                queue_id=queue,
                queue_offset=offset,
                physical_offset=1000 + offset,
                system_flag=system_flag,
                reconsume_times=reconsume_times,
                store_ms=store_ms,
            )
        )
        self.times.setdefault(place, []).append(store_ms)
        for request in [each for each in self.held if _place(each) == place]:
            self.held.remove(request)
            answer = self.pull(request)
            if answer is not None:
                request.reply(answer)

    def end(self, place: Place) -> int:
        return self.first.get(place, 0) + len(self.messages.get(place, ()))

    def change_members(self, *others: str) -> None:
        """Let other members join or leave, and tell ours, as a broker does."""
        self.others = list(others)
        self.broker.ask(IDS_CHANGED, fields={"consumerGroup": self.group})

    def pulls(self, topic: str = "t") -> list[Place]:
        """Return queue and offset of the pulls so far."""
        return [
            (request.fields["topic"], int(request.fields["queueId"]))
            for request in self.broker.of(PULL)
            if request.fields["topic"] == topic
        ]

    def pull(self, request: Request) -> Answer | None:
        place, offset = _place(request), int(request.fields["queueOffset"])
        first, end = self.first.get(place, 0), self.end(place)
        if not first <= offset <= end:
            moved = first if offset < first else end
            return Answer(code=OFFSET_MOVED, fields={"nextBeginOffset": str(moved)})
        found = self.messages.get(place, [])[offset - first :][: int(request.fields["maxMsgNums"])]
        if not found and int(request.fields["sysFlag"]) & SUSPEND:
            self.held.append(request)
            return None
        fields = {"nextBeginOffset": str(offset + len(found)), "minOffset": str(first), "maxOffset": str(end)}
        return Answer(code=0 if found else PULL_NOT_FOUND, fields=fields, body=b"".join(found))

    def lock(self, request: Request) -> Answer:
        """RebalanceLockManager.tryLockBatch: each queue is given to whoever holds it already, or to the first who asks."""
        asked = json.loads(request.body)
        given = [
            each
            for each in asked["mqSet"]
            if self.locks.setdefault((each["topic"], each["queueId"]), asked["clientId"]) == asked["clientId"]
        ]
        return Answer(body=json.dumps({"lockOKMQSet": given}).encode())

    def unlock(self, request: Request) -> Answer:
        asked = json.loads(request.body)
        for each in asked["mqSet"]:
            if self.locks.get((each["topic"], each["queueId"])) == asked["clientId"]:
                del self.locks[each["topic"], each["queueId"]]
        return Answer()

    def search(self, request: Request) -> Answer:
        """ConsumeQueue.getOffsetInQueueByTime: bisection, which ends at any message of that very time, or at the nearest."""
        place, wanted = _place(request), int(request.fields["timestamp"])
        times = self.times.get(place, [])
        low, high, left, right = 0, len(times) - 1, -1, -1
        while low <= high:
            middle = (low + high) // 2
            if times[middle] == wanted:
                left = right = middle
                break
            if times[middle] > wanted:
                high, right = middle - 1, middle
            else:
                low, left = middle + 1, middle
        if left < 0 or right < 0:
            nearest = max(left, right, 0)
        else:
            nearest = right if wanted - times[left] > times[right] - wanted else left
        return Answer(fields={"offset": str(self.first.get(place, 0) + nearest)})

    def query_offset(self, request: Request) -> Answer:
        offset = self.committed.get(_place(request))
        if offset is None and not self.zero_for_unknown_groups:
            return Answer(
                code=QUERY_NOT_FOUND, remark="Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first"
            )
        return Answer(fields={"offset": str(offset or 0)})

    def update_offset(self, request: Request) -> Answer:
        offset = int(request.fields["commitOffset"])
        self.committed[_place(request)] = offset
        self.commits.append((*_place(request), offset))
        return Answer()

    def heartbeat(self, request: Request) -> Answer:
        self.heartbeats.append(json.loads(request.body))
        self.me = str(self.heartbeats[-1]["clientID"])
        return Answer()

    def members(self, _request: Request) -> Answer:
        if not (self.others or self.me):
            return Answer(code=1, remark=f"no consumer for this group, {self.group}")
        return Answer(body=json.dumps({"consumerIdList": [*self.others, *([self.me] if self.me else [])]}).encode())

    def all_offsets(self, _request: Request) -> Answer:
        """fastjson's dialect: the queue ids are bare integers."""
        tables: dict[str, list[str]] = {}
        for (topic, queue), offset in self.committed.items():
            tables.setdefault(f"{topic}@{self.group}", []).append(f"{queue}:{offset}")
        text = ",".join(f'"{name}":{{{",".join(entries)}}}' for name, entries in tables.items())
        return Answer(body=f'{{"offsetTable":{{{text}}}}}'.encode())


def _place(request: Request) -> Place:
    return request.fields["topic"], int(request.fields["queueId"])
