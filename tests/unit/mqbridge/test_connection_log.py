"""mosquitto's log lines (version 2.0, as a broker of that version published them) as notices."""

import pytest

from mqbridge.messages import StatusNotice
from mqbridge.presence import ConnectionLog, Presence

NOW = 1_800_000_000_123
D1, D3 = "GID_x@@@d1", "GID_x@@@d3"


def seen(*lines: str) -> list[StatusNotice]:
    log = ConnectionLog()
    return [notice for line in lines for notice in log.read(line, NOW)]


def kinds(notices: list[StatusNotice]) -> list[tuple[str, str]]:
    return [(each.client_id, each.event_type) for each in notices]


CONNECTED = f"1795289695: New client connected from 127.0.0.1:50650 as {D1} (p2, c1, k60)."


def test_a_connection_that_ends_as_announced() -> None:
    notices = seen(
        "1795289695: New connection from 127.0.0.1:50650 on port 1883.",
        CONNECTED,
        f"1795289699: Client {D1} disconnected.",
    )
    assert kinds(notices) == [(D1, "connect"), (D1, "disconnect"), (D1, "tcpclean")]
    assert len({each.channel_id for each in notices}) == 1
    assert [each.time_ms for each in notices] == [1_795_289_695_000, 1_795_289_699_000, 1_795_289_699_000]
    assert {each.client_ip for each in notices} == {"127.0.0.1:50650"}


@pytest.mark.parametrize(
    ("line", "remark"),
    [
        (f"1795289699: Client {D1} closed its connection.", "closed its connection"),
        (f"1795289699: Client {D1} has exceeded timeout, disconnecting.", "exceeded timeout"),
        (f"1795289699: Client {D1} disconnected due to protocol error.", "protocol error"),
        (f"1795289699: Client {D1} disconnected: Connection reset by peer.", "Connection reset by peer"),
        (f"1795289699: Client {D1} been disconnected by administrative action.", "administrative action"),
        (f"1795289699: Bad socket read/write on client {D1}: Out of memory.", "Out of memory."),
        (f"1795289699: Socket error on client {D1}, disconnecting.", "socket error"),
        (f"1795289699: Client {D1} already connected, closing old connection.", "taken over"),
    ],
)
def test_a_connection_that_is_lost_ends_without_having_been_announced(line: str, remark: str) -> None:
    _, end = seen(CONNECTED, line)
    assert (end.event_type, end.remark) == ("tcpclean", remark)


def test_a_take_over_ends_the_old_connection_and_begins_another() -> None:
    notices = seen(
        f"1795289696: New client connected from 127.0.0.1:50674 as {D3} (p5, c1, k60).",
        f"1795289697: Client {D3} already connected, closing old connection.",
        f"1795289697: New client connected from 127.0.0.1:50686 as {D3} (p2, c1, k60, u'bob').",
    )
    old, end, new = notices
    assert kinds(notices) == [(D3, "connect"), (D3, "tcpclean"), (D3, "connect")]
    assert old.channel_id == end.channel_id != new.channel_id


def test_an_end_that_was_missed_is_made_up_for_when_the_client_comes_again() -> None:
    later = CONNECTED.replace("1795289695", "1795289800").replace("50650", "50999")
    first, end, second = seen(CONNECTED, later)
    assert (end.event_type, end.channel_id) == ("tcpclean", first.channel_id)
    assert second.channel_id != first.channel_id


def test_an_end_whose_beginning_was_not_seen_is_told_alone() -> None:
    assert kinds(seen(f"1795289699: Client {D1} closed its connection.")) == [(D1, "tcpclean")]


STAMPS = [
    ("1795289695", "1795289699", "1795289800"),
    ("2026-11-21T20:00:00", "2026-11-21T20:00:04", "2026-11-21T20:01:45"),
]


@pytest.mark.parametrize(("began", "ended", "began_again"), STAMPS)
def test_lines_that_come_again_say_the_same_again(began: str, ended: str, began_again: str) -> None:
    """A broker sends what it had no acknowledgement of once more, after a reconnect, and says whenever it is the same time."""
    del began_again
    lines = (CONNECTED.replace("1795289695", began), f"{ended}: Client {D1} disconnected.")
    once, twice = seen(*lines), seen(*lines, *lines)
    assert twice == [*once, *once]


@pytest.mark.parametrize(("began", "ended", "began_again"), STAMPS)
def test_an_old_line_that_comes_again_harms_no_newer_connection(began: str, ended: str, began_again: str) -> None:
    first = CONNECTED.replace("1795289695", began)
    later = CONNECTED.replace("1795289695", began_again).replace("50650", "50999")
    end = f"{ended}: Client {D1} disconnected."
    presence = Presence()
    for notice in seen(first, end, later, first, end):
        presence.add(notice)
    assert presence.is_online(D1)


def test_who_is_refused_under_a_client_id_does_not_end_its_owner_s_connection() -> None:
    refused = f"1795289699: Client {D1} disconnected, not authorised."
    assert kinds(seen(CONNECTED, refused)) == [(D1, "connect")]


def test_lines_of_mosquitto_1_name_no_version_and_no_port() -> None:
    (notice,) = seen(f"1795289695: New client connected from 127.0.0.1 as {D1} (c1, k60, u'bob').")
    assert (notice.client_id, notice.client_ip) == (D1, "127.0.0.1")


def test_other_lines_say_nothing() -> None:
    assert (
        seen("1795289695: Saving in-memory database to mosquitto.db.", "", "x" * 1000, f"Client {D1} is sleepy.") == []
    )


def test_a_line_without_a_time_in_seconds_has_the_reader_s() -> None:
    for prefix in ("", "2026-01-01T00:00:00: ", "2026-01-01 00:00:00: ", "1234567890123: "):
        (notice,) = seen(CONNECTED.replace("1795289695: ", prefix))
        assert (notice.client_id, notice.time_ms) == (D1, NOW)


def test_a_client_id_that_looks_like_the_rest_of_a_line_stands_for_nobody_else() -> None:
    forged = f"1795289696: New client connected from 127.0.0.1:50664 as {D1} (p2, c1, k60). (p2, c1, k60)."
    assert seen(forged, forged.replace("(p2, c1, k60).", "(p2, c1, k60, u'x'", 1)) == []
    odd = "1795289696: New client connected from 127.0.0.1:50664 as GID_x@@@d2 disconnected. as (p2 (p2, c1, k60, u'bob')."
    assert kinds(seen(odd)) == [("GID_x@@@d2 disconnected. as (p2", "connect")]


def test_it_remembers_a_number_of_clients() -> None:
    log = ConnectionLog(max_connected=2)
    lines = [CONNECTED.replace("d1", f"d{number}") for number in range(3)]
    begun = {notice.client_id: notice.channel_id for line in lines for notice in log.read(line, NOW)}
    ended = {
        f"GID_x@@@d{number}": log.read(f"1795289699: Client GID_x@@@d{number} disconnected.", NOW)[0].channel_id
        for number in range(3)
    }
    assert [client for client in begun if begun[client] == ended[client]] == ["GID_x@@@d1", "GID_x@@@d2"]


def test_of_those_that_left_it_remembers_a_number_too() -> None:
    log = ConnectionLog(max_left=2)
    for number in range(5):
        log.read(CONNECTED.replace("d1", f"d{number}"), NOW)
        log.read(f"1795289699: Client GID_x@@@d{number} disconnected.", NOW)
    assert list(log.known) == ["GID_x@@@d3", "GID_x@@@d4"]


def test_a_reader_that_starts_again_knows_what_it_knew() -> None:
    """Also where the last lines come again, because nobody had acknowledged them."""
    log = ConnectionLog()
    (begun,) = log.read(CONNECTED, NOW)
    end = f"1795289699: Client {D1} disconnected."
    again = ConnectionLog(log.known)
    ended = again.read(end, NOW)
    assert {each.channel_id for each in ended} == {begun.channel_id}
    assert ConnectionLog(again.known).read(end, NOW) == ended
