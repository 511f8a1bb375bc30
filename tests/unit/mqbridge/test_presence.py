"""Who is online: the rules of the reader's side, each with a case, and what holds for any history."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqbridge.messages import StatusNotice
from mqbridge.presence import Presence, UnreadableNotice, read_notice, write_notice
from tests.unit.mqbridge.support import quick


def notice(event_type: str, channel: str = "c1", time_ms: int = 1_000, client: str = "d1") -> StatusNotice:
    return StatusNotice(client_id=client, event_type=event_type, time_ms=time_ms, channel_id=channel, client_ip="h:1")


def after(*notices: StatusNotice) -> Presence:
    presence = Presence()
    for each in notices:
        presence.add(each)
    return presence


def test_a_client_of_which_nothing_was_heard_is_offline() -> None:
    assert not Presence().is_online("d1")
    assert Presence().client("d1") is None


def test_it_is_online_from_its_connect_to_its_tcpclean() -> None:
    assert after(notice("connect")).is_online("d1")
    assert not after(notice("connect"), notice("tcpclean")).is_online("d1")


def test_an_announced_end_is_an_end_even_if_tcpclean_is_lost() -> None:
    assert not after(notice("connect"), notice("disconnect")).is_online("d1")


def test_an_end_cancels_its_own_connection_and_no_other_whatever_the_times() -> None:
    """A device comes back before its old connection is found dead: the late end, with the larger time, must not take it offline."""
    assert after(notice("connect", "c1", 1), notice("connect", "c2", 2), notice("tcpclean", "c1", 9)).is_online("d1")
    assert after(notice("connect", "c2", 9), notice("tcpclean", "c1", 10)).is_online("d1")


def test_an_end_that_overtook_its_beginning_holds() -> None:
    assert not after(notice("tcpclean", time_ms=2), notice("connect", time_ms=1)).is_online("d1")


def test_a_late_duplicate_of_a_connect_does_not_bring_a_connection_back() -> None:
    assert not after(notice("connect"), notice("tcpclean"), notice("connect")).is_online("d1")


def test_two_clients_may_have_connections_of_one_id() -> None:
    presence = after(notice("connect", client="d1"), notice("connect", client="d2"), notice("tcpclean", client="d1"))
    assert [each.client_id for each in presence.online()] == ["d2"]


def test_who_follows_is_told_of_changes_only() -> None:
    presence = Presence()
    told = [
        presence.add(each) for each in (notice("connect"), notice("connect"), notice("disconnect"), notice("tcpclean"))
    ]
    assert [each.is_online if each else None for each in told] == [True, None, False, None]


def test_since_when_and_from_where() -> None:
    presence = after(notice("connect", "c1", 5), replace(notice("connect", "c2", 8), client_ip="h:2"))
    client = presence.client("d1")
    assert client is not None
    assert (client.since_ms, client.client_ip, client.connections) == (5, "h:2", 2)
    presence.add(notice("tcpclean", "c1", 9))
    presence.add(notice("tcpclean", "c2", 7))
    client = presence.client("d1")
    assert client is not None
    assert (client.is_online, client.since_ms, client.connections) == (False, 9, 0)


def test_memory_holds_what_lasts_and_a_number_of_ends() -> None:
    presence = Presence(max_ended=10)
    for number in range(1_000):
        presence.add(notice("connect", f"c{number}", client=f"d{number}"))
        if number != 500:
            presence.add(notice("tcpclean", f"c{number}", client=f"d{number}"))
    assert [each.client_id for each in presence.online()] == ["d500"]
    assert len(presence.clients()) == 11


# Any history.

CLIENTS, CHANNELS = ("d1", "d2"), ("c1", "c2", "c3")
notices = st.builds(
    notice,
    st.sampled_from(["connect", "disconnect", "tcpclean"]),
    st.sampled_from(CHANNELS),
    st.integers(0, 9),
    st.sampled_from(CLIENTS),
)
histories = st.lists(notices, max_size=12)


def online_by_definition(history: Sequence[StatusNotice], client: str) -> bool:
    """Return what the rules say of a whole history: some connection begins in it and does not end in it."""
    of_client = [each for each in history if each.client_id == client]
    ended = {each.channel_id for each in of_client if each.event_type != "connect"}
    return any(each.event_type == "connect" and each.channel_id not in ended for each in of_client)


@quick
@given(histories)
def test_it_is_what_the_rules_say(history: list[StatusNotice]) -> None:
    presence = after(*history)
    assert {each: presence.is_online(each) for each in CLIENTS} == {
        each: online_by_definition(history, each) for each in CLIENTS
    }


@quick
@given(histories, st.data())
def test_order_and_duplicates_do_not_matter(history: list[StatusNotice], data: st.DataObject) -> None:
    repeated = data.draw(st.lists(st.sampled_from(history), max_size=6)) if history else []
    again = data.draw(st.permutations([*history, *repeated]))
    assert after(*again).clients() == after(*history).clients()


@quick
@given(histories)
def test_what_who_follows_is_told_adds_up(history: list[StatusNotice]) -> None:
    presence, told = Presence(), dict.fromkeys(CLIENTS, False)
    for each in history:
        change = presence.add(each)
        if change is not None:
            assert change.is_online != told[change.client_id]
            told[change.client_id] = change.is_online
    assert told == {each: presence.is_online(each) for each in CLIENTS}


@quick
@given(histories, st.integers(1, 3))
def test_memory_is_bounded_for_any_history(history: list[StatusNotice], max_ended: int) -> None:
    presence = Presence(max_ended=max_ended)
    for each in history:
        presence.add(each)
    offline = [each for each in presence.clients() if not each.is_online]
    assert len(offline) <= max_ended


# Notices as JSON.


written_notices = st.builds(
    StatusNotice,
    client_id=st.text(min_size=1),
    event_type=st.sampled_from(["connect", "tcpclean"]),
    time_ms=st.integers(0, 1 << 53),
    channel_id=st.text(min_size=1),
    client_ip=st.just("h:1"),
    remark=st.text(),
)


@quick
@given(written_notices)
def test_a_notice_is_read_as_it_was_written(written: StatusNotice) -> None:
    read = read_notice(write_notice(written))
    assert replace(read, remark="") == replace(written, remark="")
    assert read.remark == (written.remark if written.remark != "undefined" else "")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff", "not_a_status_event"),
        (b"[1]", "not_a_status_event"),
        (b"[" * 100_000, "not_a_status_event"),
        (b'{"eventType":"connect","channelId":"c","time":1}', "client_id_missing"),
        (b'{"clientId":"","eventType":"connect","channelId":"c","time":1}', "client_id_missing"),
        (b'{"clientId":7,"eventType":"connect","channelId":"c","time":1}', "client_id_missing"),
        (b'{"clientId":"d","eventType":"rebooted","channelId":"c","time":1}', "foreign_event_type"),
        (b'{"clientId":"d","eventType":["connect"],"channelId":"c","time":1}', "foreign_event_type"),
        (b'{"clientId":"d","eventType":"connect","time":1}', "channel_id_missing"),
        (b'{"clientId":"d","eventType":"connect","channelId":"c"}', "invalid_time"),
        (b'{"clientId":"d","eventType":"connect","channelId":"c","time":"1"}', "invalid_time"),
        (b'{"clientId":"d","eventType":"connect","channelId":"c","time":true}', "invalid_time"),
        (b'{"clientId":"d","eventType":"connect","channelId":"c","time":1.5}', "invalid_time"),
        (b'{"clientId":"d","eventType":"connect","channelId":"c","time":-1}', "invalid_time"),
        (b'{"clientId":"d","eventType":"connect","channelId":"c","time":NaN}', "invalid_time"),
    ],
)
def test_what_is_no_notice_is_said_by_its_reason(body: bytes, reason: str) -> None:
    with pytest.raises(UnreadableNotice) as raised:
        read_notice(body)
    assert raised.value.reason == reason


def test_connections_whose_ends_never_come_do_not_fill_the_memory() -> None:
    """Ends of older EMQX name no connection, and a broker that crashed tells none."""
    presence = after(*(notice("connect", f"c{at}", at) for at in range(1_000)))
    client = presence.client("d1")
    assert client is not None
    assert client.is_online
    assert (client.connections, client.since_ms) == (64, 936)
