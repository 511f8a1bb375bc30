"""mqbridge presence: who is online, by the notices in the topics of status rules; and who comes and goes from then on."""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from mqbridge.namespace import plain_text
from mqbridge.presence import ClientPresence, Presence, UnreadableNotice, read_notice
from mqbridge.rules import InvalidRules, Rules, RulesError, StatusRule, load
from mqbridge.secrets import UnresolvedSecret
from mqbridge_cli.presence_topic import FollowedTopic
from mqbridge_cli.validate import print_faults
from rocketmq_remoting import RocketMQError, StoredMessage

__all__ = ["Follower", "run", "topics_of"]

LOOK_AGAIN_S = 1.0
_HEADINGS = ("CLIENT", "SINCE", "FROM", "CONNECTIONS")


def run(rules_path: str, rule: str | None, output: str, *, follows: bool) -> int:
    """Print who is online, and go on until interrupted if `follows`; return 0, or 2 if that cannot be known."""
    try:
        rules = load(rules_path)
        topics = topics_of(rules, rule)
    except InvalidRules as error:
        print_faults(rules_path, error.faults, sys.stderr)
        return 2
    except (RulesError, _NoStatusRule) as error:
        print(error, file=sys.stderr)
        return 2
    return _follow(rules, topics, Follower(output), follows)


class _NoStatusRule(Exception):
    pass


def topics_of(rules: Rules, name: str | None) -> list[tuple[str, str]]:
    """Return instance and topic of every status rule, or of the named one; each once.

    Raises:
        Exception: there is no such rule; it says which there are.
    """
    wanted: list[StatusRule] = [each for each in rules.status if name in (None, each.rule_id)]
    if not wanted:
        known = ", ".join(each.rule_id for each in rules.status) or "there is none"
        raise _NoStatusRule(f"{rules.name}: expected a status rule ({known}), got {name or 'none'}")
    return list(dict.fromkeys((str(each.destination.instance_id), each.destination.topic) for each in wanted))


class Follower:
    """Judge messages, and word what comes of them: the table of who is online, and a line per change. Does no I/O."""

    def __init__(self, output: str) -> None:
        self._is_json = output == "json"
        self._presence = Presence()
        self.passed_over = 0

    def take(self, messages: Iterable[StoredMessage]) -> Iterator[str]:
        """Take messages; yield a line for each client that came online or went offline by one."""
        for message in messages:
            try:
                change = self._presence.add(read_notice(message.body))
            except UnreadableNotice:
                self.passed_over += 1  # anybody may send to a topic
                continue
            if change is not None:
                yield self._line(change)

    def online(self) -> Iterator[str]:
        """Yield the lines that say who is online."""
        clients = self._presence.online()
        if self._is_json:
            yield from map(self._line, clients)
            return
        rows = [_HEADINGS, *((each.client_id, _time(each), each.client_ip, str(each.connections)) for each in clients)]
        widths = [max(len(row[at]) for row in rows) for at in range(len(_HEADINGS))]
        for row in rows:
            yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        yield f"{len(clients)} online"

    def _line(self, client: ClientPresence) -> str:
        if self._is_json:
            known = {"clientId": client.client_id, "online": client.is_online, "since": client.since_ms}
            more = {"clientIp": client.client_ip, "connections": client.connections} if client.is_online else {}
            return json.dumps({**known, **more}, ensure_ascii=False)
        word = "online" if client.is_online else "offline"
        return f"{_time(client)}  {word:7}  {client.client_id}"


def _follow(rules: Rules, names: Sequence[tuple[str, str]], follower: Follower, follows: bool) -> int:
    topics: list[tuple[str, FollowedTopic]] = []
    try:
        for instance_id, topic in names:
            topics.append((instance_id, FollowedTopic(rules.rocketmq[instance_id], topic)))
        for _, each in topics:
            for _line in follower.take(each.new_messages()):
                pass  # how it came to be is not asked
        _print(follower.online())
        if follower.passed_over:
            print(f"{follower.passed_over} messages passed over: no status notices", file=sys.stderr)
        while follows:
            time.sleep(LOOK_AGAIN_S)
            _look_again(rules, topics, follower)
    except (RocketMQError, UnresolvedSecret, OSError) as error:
        print(f"the notices cannot be read: {error}", file=sys.stderr)
        return 2
    finally:
        for _, each in topics:
            each.close()
    return 0


def _look_again(rules: Rules, topics: Sequence[tuple[str, FollowedTopic]], follower: Follower) -> None:
    for instance_id, topic in topics:
        try:
            _print(follower.take(topic.new_messages()))
        except RocketMQError as error:  # a broker that restarts comes back
            print(f"{instance_id}: {plain_text(rules.rocketmq[instance_id].namespace, str(error))}", file=sys.stderr)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)
    sys.stdout.flush()


def _time(client: ClientPresence) -> str:
    try:
        return datetime.fromtimestamp(client.since_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):  # a source may claim any time
        return str(client.since_ms)
