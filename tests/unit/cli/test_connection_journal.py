"""What is remembered of connections over a restart."""

from pathlib import Path

from mqbridge.presence import Connection
from mqbridge_cli.runner.connection_journal import MAX_HISTORY, ConnectionJournal


def connection(number: int, ended_by: str = "") -> Connection:
    return Connection(channel_id=f"c{number}", client_ip="192.0.2.1:5", stamp=str(number), ended_by=ended_by)


def test_the_last_connection_of_each_client_comes_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "state" / "presence.connections"
    journal = ConnectionJournal(path)
    assert journal.load() == {}
    journal.note("d1", connection(1))
    journal.note("d2", connection(2))
    journal.note("d1", connection(3, "a line"))
    journal.close()
    assert list(ConnectionJournal(path).load().items()) == [("d2", connection(2)), ("d1", connection(3, "a line"))]


def test_a_line_that_was_cut_short_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "presence.connections"
    journal = ConnectionJournal(path)
    journal.note("d1", connection(1))
    journal.close()
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole + b"[]\n" + b'{"client_id": "d3"}\n' + b"\xff\n" + whole[:end])
        assert ConnectionJournal(path).load() == {"d1": connection(1)}


def test_history_is_dropped_when_there_is_much_of_it(tmp_path: Path) -> None:
    path = tmp_path / "presence.connections"
    journal = ConnectionJournal(path)
    journal.load()
    for number in range(MAX_HISTORY + 3):
        journal.note("d1", connection(number))
    last = {"d1": connection(MAX_HISTORY + 2)}
    assert journal.is_mostly_history(len(last))
    journal.replace(last)
    assert not journal.is_mostly_history(len(last))
    assert len(path.read_text().splitlines()) == 1
    journal.note("d2", connection(7))
    journal.close()
    assert ConnectionJournal(path).load() == {**last, "d2": connection(7)}


def test_what_cannot_be_written_or_read_is_done_without(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    journal = ConnectionJournal(file / "presence.connections")
    assert journal.load() == {}
    journal.note("d1", connection(1))
    journal.replace({"d1": connection(1)})
    journal.close()
    of_a_folder = ConnectionJournal(tmp_path)
    assert of_a_folder.load() == {}
    of_a_folder.note("d1", connection(1))
